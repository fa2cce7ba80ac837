//! What a server of a document gets: through a proxy, with its headers, again after `Retry-After`.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread::JoinHandle;

use client::{Request, Server};
use contract::Span;
use document::http::{HttpServer, Proxy, Tls};

/// Answers one connection after the other with these replies, and returns what was asked.
fn answering(replies: Vec<&'static str>) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for reply in replies {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> =
                lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            asked.push(head.join("\n"));
            stream
                .write_all(
                    format!("{reply}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes(),
                )
                .unwrap();
        }
        asked
    });
    (port, thread)
}

fn server(url: &str) -> HttpServer {
    HttpServer {
        url: url.parse().unwrap(),
        timeout: Span::from_seconds(10),
        retries: 1,
        auth: None,
        tls: Tls::default(),
        headers: [("x-scope-orgid".to_owned(), "team".to_owned())].into(),
        proxy: None,
        in_cluster: None,
    }
}

fn get(server: &HttpServer) -> Result<u16, String> {
    let opened = Server::open(server, "sources.x.prometheus", Path::new("")).unwrap();
    let request = Request::get(server.url.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sent = runtime.block_on(opened.send(&request, |reply| {
        if reply.is_success() {
            Ok(reply.status)
        } else {
            Err(opened.refusal(&request, &reply, ""))
        }
    }));
    sent.map_err(|failed| failed.error.to_string())
}

#[test]
fn request_goes_through_the_proxy_that_the_document_names() {
    let (port, proxy) = answering(vec!["HTTP/1.1 200 OK\r\n"]);
    let mut server = server("http://metrics.invalid/api?tenant=a");
    server.proxy = Some(Proxy::Url(format!("http://127.0.0.1:{port}").parse().unwrap()));
    assert_eq!(get(&server), Ok(200));
    let asked = proxy.join().unwrap();
    assert!(asked[0].starts_with("GET http://metrics.invalid/api?tenant=a HTTP/1.1"), "{asked:?}");
    assert!(asked[0].contains("x-scope-orgid: team"), "{asked:?}");
}

#[test]
fn request_is_sent_again_after_the_delay_that_the_server_asks_for() {
    let busy = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\n";
    let (port, listening) = answering(vec![busy, "HTTP/1.1 200 OK\r\n"]);
    assert_eq!(get(&server(&format!("http://127.0.0.1:{port}"))), Ok(200));
    assert_eq!(listening.join().unwrap().len(), 2);
    let (port, listening) =
        answering(vec!["HTTP/1.1 429 Too Many Requests\r\nRetry-After: 301\r\n"]);
    let error = get(&server(&format!("http://127.0.0.1:{port}"))).unwrap_err();
    assert!(error.contains("429 Too Many Requests"), "{error}");
    assert_eq!(listening.join().unwrap().len(), 1);
}
