//! Servers behind the proxy of the environment variables.

mod support;

#[expect(dead_code, reason = "this uses a part of it")]
#[path = "support/fake.rs"]
mod fake;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use anyhow::Result;
use fake::{Fake, matrix};
use support::Place;

const NOON: &str = "2026-11-29T12:00:00Z";

/// Collects from a server that is behind the proxy of the environment.
fn behind_proxy(url: &str, proxy: &str, excepted: &str) -> Result<(Place, Option<i32>)> {
    let place = Place::new(&format!(
        "step: 1m\nrange: 1d\nsources: {{main: {{prometheus: {{url: '{url}', retries: 0, timeout: 5s}}, queries: [{{name: a, promql: a}}]}}}}"
    ))?;
    let mut collect = Command::new(env!("CARGO_BIN_EXE_collect"));
    collect.current_dir(place.path(""));
    collect.args(["--document", "x.yaml", "--samples", "samples.parquet", "--now", NOON]);
    for name in ["http_proxy", "https_proxy", "all_proxy", "ALL_PROXY", "no_proxy"] {
        collect.env_remove(name);
    }
    collect.env("HTTP_PROXY", proxy).env("HTTPS_PROXY", proxy).env("NO_PROXY", excepted);
    let code = collect.output()?.status.code();
    Ok((place, code))
}

#[test]
fn the_proxy_of_the_environment_is_asked_unless_the_host_is_excepted() -> Result<()> {
    let fake = Fake::start(|asked| matrix(&[asked.series("{}", |_| Some(1.0))]))?;
    let server = "http://prometheus.example.test:9090";
    let (place, code) = behind_proxy(server, &fake.url(), "")?;
    assert_eq!((code, fake.asked().len()), (Some(0), 1));
    assert_eq!(frames::Samples::read(&place.path("samples.parquet"))?.table.rows(), 1440);
    let (_, code) = behind_proxy(server, &fake.url(), "example.test")?;
    assert_eq!((code, fake.asked().len()), (Some(4), 1), "there is no such host");

    // TLS passes through the proxy unchanged.
    let proxy = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", proxy.local_addr()?);
    let first_line = std::thread::spawn(move || -> Result<String> {
        let mut client = BufReader::new(proxy.accept()?.0);
        let mut line = String::new();
        client.read_line(&mut line)?;
        client.get_mut().write_all(b"HTTP/1.1 403 x\r\ncontent-length: 0\r\n\r\n")?;
        Ok(line)
    });
    let (_, code) = behind_proxy("https://prometheus.example.test", &url, "")?;
    assert!(matches!(code, Some(2 | 4)), "{code:?}");
    // Stops waiting for a request that was never sent.
    drop(TcpStream::connect(url.trim_start_matches("http://")));
    let line = first_line.join().map_err(|_| anyhow::anyhow!("the proxy broke"))??;
    assert_eq!(line.trim_end(), "CONNECT prometheus.example.test:443 HTTP/1.1");
    Ok(())
}
