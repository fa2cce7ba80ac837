//! The source `influxdb` against a real server, and in `replies` against replies that a real server
//! does not give on demand.

#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/fake.rs"]
#[allow(dead_code, reason = "what is about Prometheus is for other tests")]
mod fake;
#[path = "../../../../tests/support/influxdb.rs"]
mod influxdb;

mod replies;

use anyhow::Result;
use collect::check::{Checked, Finding, Status, check};
use frames::Samples;
use influxdb::Influxdb;
use support::Place;

const NOW: &str = "2026-11-21T09:00:00Z";
const NOW_MS: i64 = 1_795_251_600_000;

fn document(url: &str, more: &str) -> String {
    format!(
        "step: 10s\nrange: 5m\nrate_window: 20s\nsources:\n  pods:\n    influxdb:\n      url: {url}\n      database: telegraf\n{more}"
    )
}

/// Returns a point in the line protocol, `seconds` after the begin of the range.
fn point(series: &str, fields: &str, seconds: i64) -> String {
    format!("{series} {fields} {}\n", NOW_MS - 300_000 + seconds * 1000)
}

/// Returns Telegraf's points of a pod with two containers and two volumes, every ten seconds.
fn telegraf(pod: &str, from: i64, to: i64) -> String {
    let tags = format!("host=agent-1,namespace=shop,node_name=n1,pod_name={pod}");
    let mut lines = String::new();
    for seconds in (from..=to).step_by(10) {
        for (container, memory) in [("app", 1000), ("sidecar", 24)] {
            lines.push_str(&point(
                &format!("kubernetes_pod_container,container_name={container},{tags}"),
                &format!(
                    "memory_usage_bytes={memory}i,cpu_usage_nanocores=7i,rootfs_used_bytes=5i,logsfs_used_bytes=1i"
                ),
                seconds,
            ));
        }
        for (volume, bytes) in [("data", 400), ("config", 20)] {
            lines.push_str(&point(
                &format!("kubernetes_pod_volume,volume_name={volume},{tags}"),
                &format!("used_bytes={bytes}i"),
                seconds,
            ));
        }
        let (rx, tx) = (50_000 + seconds * 100, 9_000_000_000_000_000 + seconds * 7);
        let fields = format!("rx_bytes={rx}i,tx_bytes={tx}i");
        lines.push_str(&point(&format!("kubernetes_pod_network,{tags}"), &fields, seconds));
    }
    lines
}

fn server() -> Result<Option<Influxdb>> {
    let server = Influxdb::start("")?;
    if let Some(server) = &server {
        server.run("CREATE DATABASE telegraf", None)?;
    }
    Ok(server)
}

fn rows_of(samples: &Samples, entity: &str) -> Vec<usize> {
    let index = samples.table.entities.iter().position(|name| name == entity).unwrap();
    let index = u32::try_from(index).unwrap();
    (0..samples.table.rows()).filter(|row| samples.table.entity[*row] == index).collect()
}

#[test]
fn telegraf_measurements_become_a_row_of_each_pod_and_window() -> Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    // The second pod's name sorts after the first one's, and it is deleted after 100 s.
    server.write("telegraf", &telegraf("web-0", -60, 300))?;
    server.write("telegraf", &telegraf("web-1", -60, 100))?;
    let blkio = "docker_container_blkio,container_name=k8s_app_web-0_shop_0f3e_0,device=";
    for seconds in (-60..=300).step_by(10) {
        for device in ["total", "8:0"] {
            let read = seconds * 11 + 10_000;
            let fields = format!("io_service_bytes_recursive_read={read}i");
            server.write("telegraf", &point(&format!("{blkio}{device}"), &fields, seconds))?;
        }
    }
    let place = Place::new(&document(&server.url(), ""))?;
    let samples = place.samples(NOW, &[])?;
    assert_eq!(samples.table.entities, ["shop/web-0", "shop/web-1"]);
    let (web, gone) = (rows_of(&samples, "shop/web-0"), rows_of(&samples, "shop/web-1"));
    assert_eq!((web.len(), gone.len()), (30, 10), "a series that vanishes leaves no rows");
    let values = |name: &str, row: usize| samples.table.column(name).unwrap().values[row];
    for (name, expected) in [
        ("memory_usage_bytes", 1024.0),
        ("cpu_usage_nanocores", 14.0),
        ("volume_used_bytes", 420.0),
        ("network_receive_bytes_per_second", 100.0),
        ("network_transmit_bytes_per_second", 7.0),
        ("fs_read_bytes_per_second", 11.0),
    ] {
        for row in &web {
            assert!((values(name, *row) - expected).abs() < 1e-9, "{name}: {}", values(name, *row));
        }
    }
    assert!(values("fs_read_bytes_per_second", gone[0]).is_nan(), "a pod without Docker");
    // The number of written rows is unknown: the model omits it.
    assert!(samples.table.column("fs_write_bytes_per_second").is_none());
    assert_eq!(place.outcome()?["details"]["absent"][0], "fs_write_bytes_per_second");
    Ok(())
}

#[test]
fn a_pod_that_is_renamed_is_another_entity_from_then_on() -> Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    server.write("telegraf", &telegraf("web-0", -60, 150))?;
    server.write("telegraf", &telegraf("web-0-b", 160, 300))?;
    let samples = Place::new(&document(&server.url(), ""))?.samples(NOW, &[])?;
    let (old, new) = (rows_of(&samples, "shop/web-0"), rows_of(&samples, "shop/web-0-b"));
    assert_eq!((old.len(), new.len()), (15, 15));
    // The counters continue under the new name, but its first rate uses only its own rows.
    let rate = samples.table.column("network_receive_bytes_per_second").unwrap();
    assert!(rate.values[new[0]].is_nan());
    assert!((rate.values[new[1]] - 100.0).abs() < 1e-9);
    Ok(())
}

#[test]
fn a_range_of_many_chunks_and_rows_is_whole_and_the_same_each_time() -> Result<()> {
    let Some(server) = Influxdb::start("max-row-limit = 100")? else { return Ok(()) };
    server.run("CREATE DATABASE telegraf", None)?;
    let mut lines = String::new();
    for seconds in -60..1500 {
        for pod in 0..20 {
            let tags = format!("namespace=a,pod_name=p{pod:02}");
            let series = format!("kubernetes_pod_container,container_name=c,{tags}");
            let fields = format!("memory_usage_bytes={}i", 1 + seconds.max(0) * 20 + pod);
            lines.push_str(&point(&series, &fields, seconds));
        }
    }
    server.write("telegraf", &lines)?;
    let place = Place::new(&document(&server.url(), "").replace("range: 5m", "range: 25m"))?;
    let now = "2026-11-21T09:20:00Z";
    let samples = place.samples(now, &[])?;
    assert_eq!(samples.table.rows(), 20 * 150, "a limit of rows of the server cuts nothing");
    let memory = samples.table.column("memory_usage_bytes").unwrap();
    let last = rows_of(&samples, "a/p19");
    assert!((memory.values[last[148]] - (1.0 + 1490.0 * 20.0 + 19.0)).abs() < 1e-9);
    let bytes = fs_err::read(place.path("samples.parquet"))?;
    place.samples(now, &[])?;
    assert_eq!(fs_err::read(place.path("samples.parquet"))?, bytes);
    Ok(())
}

#[test]
fn two_collectors_of_a_pod_count_once_and_unusable_rows_are_warned_about() -> Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    let lines = telegraf("web-0", -60, 300);
    server.write("telegraf", &lines)?;
    server.write("telegraf", &lines.replace("host=agent-1", "host=agent-2"))?;
    let tags = "namespace=shop,pod_name=bad-0";
    for seconds in (0..300).step_by(10) {
        let fields = format!("rx_bytes={}i,tx_bytes=5i", -1000 + seconds);
        server.write(
            "telegraf",
            &point(&format!("kubernetes_pod_network,{tags}"), &fields, seconds),
        )?;
    }
    server.write("telegraf", &point("kubernetes_pod_network,namespace=shop", "rx_bytes=1i", 20))?;
    let place = Place::new(&document(&server.url(), ""))?;
    let samples = place.samples(NOW, &[])?;
    let row = rows_of(&samples, "shop/web-0")[5];
    for (name, expected) in
        [("memory_usage_bytes", 1024.0), ("network_receive_bytes_per_second", 100.0)]
    {
        assert!(
            (samples.table.column(name).unwrap().values[row] - expected).abs() < 1e-9,
            "{name}"
        );
    }
    let warnings = place.outcome()?["warnings"].to_string();
    for expected in [
        "the counter `rx_bytes` is negative: left out (30 times)",
        "rows without a value of the tags `namespace`, `pod_name`",
        "has no measurement `docker_container_blkio`; it has kubernetes_pod_container",
    ] {
        assert!(warnings.contains(expected), "{expected}: {warnings}");
    }
    let bad = rows_of(&samples, "shop/bad-0")[5];
    assert!(samples.table.column("network_receive_bytes_per_second").unwrap().values[bad].is_nan());
    Ok(())
}

#[test]
fn missing_input_is_named() -> Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    let url = server.url();
    let empty = Place::new(&document(&url, ""))?.fails(NOW, &[], 3)?;
    assert!(empty.contains("it has no measurement at all"), "{empty}");

    server.write("telegraf", &telegraf("web-0", -7200, -3600))?;
    let old = Place::new(&document(&url, ""))?.fails(NOW, &[], 3)?;
    assert!(old.contains("the newest row of `"), "{old}");
    assert!(old.contains("is of `2026-11-21T07:55:00Z`, 1h5m before"), "{old}");

    // A collector whose clock is an hour fast.
    let early = Place::new(&document(&url, ""))?.fails("2026-11-21T05:55:00Z", &[], 3)?;
    assert!(early.contains("is of `2026-11-21T06:55:00Z`, 1h after"), "{early}");

    let wrong = document(&url, "").replace("database: telegraf", "database: nope");
    let wrong = Place::new(&wrong)?.fails(NOW, &[], 2)?;
    assert!(wrong.contains("database not found: nope"), "{wrong}");
    assert!(wrong.contains("sources.pods.influxdb.database"), "{wrong}");

    let policy = document(&url, "      retention_policy: two_days\n");
    let policy = Place::new(&policy)?.fails(NOW, &[], 2)?;
    assert!(
        policy.contains("two_days") && policy.contains("retention_policy names it"),
        "{policy}"
    );

    let column =
        "      columns: [{name: a, measurement: kubernetes_pod_network, field: rx_byte}]\n";
    let field = Place::new(&document(&url, column))?.fails(NOW, &[], 3)?;
    assert!(field.contains("has no field `rx_byte`; it has rx_bytes, tx_bytes"), "{field}");

    let down = document("http://127.0.0.1:9", "      retries: 0\n");
    let down = Place::new(&down)?.fails(NOW, &[], 4)?;
    assert!(
        down.contains("cannot connect") && down.contains("sources.pods.influxdb.url"),
        "{down}"
    );
    Ok(())
}

#[test]
fn narrowed_shard_reads_only_rows_with_its_values() -> Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    let zones = [("a", "it's"), ("b", "b"), ("c", "other")];
    let mut lines = String::new();
    for (pod, zone) in zones {
        for seconds in (10..=300).step_by(10) {
            lines.push_str(&point(&format!("load,pod={pod},zone={zone}"), "value=1", seconds));
        }
    }
    server.write("telegraf", &lines)?;
    let shards = "shards: {count: 2, by: label, label: zone, values: [\"it's\", b]}\n";
    let columns = "      entity_tags: [pod]\n      columns: [{name: load, measurement: load, field: value}]\n";
    let mut entities = Vec::new();
    for narrow in ["", "      narrow_to_shard: true\n"] {
        let place = Place::new(&document(&server.url(), &format!("{columns}{narrow}{shards}")))?;
        for shard in ["0/2", "1/2"] {
            let samples = place.samples(NOW, &["--shard", shard])?;
            entities.push(samples.table.entities.clone());
        }
    }
    let [wide, narrow] = [entities[..2].concat(), entities[2..].concat()];
    assert_eq!(narrow, ["a", "b"], "each shard has its own value alone");
    assert_eq!(wide.len(), 3, "without it a shard has the entities with other values: {wide:?}");
    Ok(())
}

#[test]
fn retention_shorter_than_range_is_warned_about() -> Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    server.run("ALTER RETENTION POLICY autogen ON telegraf DURATION 26000h", None)?;
    server.write("telegraf", &telegraf("web-0", -60, 300))?;
    let document = document(&server.url(), "").replace("range: 5m", "range: 1100d");
    let place = Place::new(&document.replace("step: 10s", "step: 1h"))?;
    // It has an hour of samples, which is less than a training needs.
    let said = place.fails_keeping("2026-11-21T10:00:00Z", &[], 0);
    let said = said.or_else(|_| place.fails_keeping("2026-11-21T10:00:00Z", &[], 3))?;
    let warnings = place.outcome()?["warnings"].to_string();
    assert!(
        format!("{warnings}{said}").contains("keeps 1083d8h, and 1100d are asked for"),
        "{warnings}{said}"
    );
    Ok(())
}

#[test]
fn user_without_permission_is_refused_and_password_is_never_shown() -> Result<()> {
    let Some(server) = Influxdb::start("auth-enabled = true")? else { return Ok(()) };
    server.run("CREATE USER admin WITH PASSWORD 'secret-admin' WITH ALL PRIVILEGES", None)?;
    let admin = Some("admin:secret-admin");
    server.run("CREATE DATABASE telegraf", admin)?;
    server.run("CREATE USER reader WITH PASSWORD 'hunter2-hunter2'", admin)?;
    let none = Place::new(&document(&server.url(), ""))?.fails(NOW, &[], 2)?;
    assert!(none.contains("401") && none.contains("sources.pods.influxdb.auth"), "{none}");

    let auth = "      auth: {basic: {username: reader, password: {file: password}}}\n";
    let place = Place::new(&document(&server.url(), auth))?;
    place.file("password", "hunter2-hunter2\n")?;
    let forbidden = place.fails(NOW, &[], 2)?;
    assert!(forbidden.contains("GRANT READ ON \"telegraf\""), "{forbidden}");
    assert!(!forbidden.contains("hunter2"), "{forbidden}");

    server.run("GRANT READ ON telegraf TO reader", admin)?;
    let allowed = place.fails(NOW, &[], 3)?;
    assert!(allowed.contains("no measurement"), "{allowed}");
    Ok(())
}

#[test]
fn source_check_lists_available_data_and_problems() -> Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    server.write("telegraf", &telegraf("web-0", -120, 300))?;
    let place = Place::new(&document(&server.url(), ""))?;
    let text = fs_err::read_to_string(place.path("x.yaml"))?;
    let folder = place.path("");
    let found = |now: &str, from: &str, to: &str| -> Result<Finding> {
        let document = document::parse("x.yaml", &text.replace(from, to))?.into();
        let checked = Checked {
            data: &std::collections::BTreeMap::new(),
            document: &document,
            folder: &folder,
            store: "file:///nowhere",
            work: &folder,
            now: now.parse().map_err(anyhow::Error::msg)?,
        };
        Ok(check(checked).remove(0))
    };
    let good = found(NOW, "-", "-")?;
    assert_eq!(
        (good.status, good.series, good.kind.as_str()),
        (Status::Ok, 1, "influxdb"),
        "{good:?}"
    );
    let late = found("2026-11-21T09:04:00Z", "-", "-")?;
    assert_eq!(late.status, Status::Partial);
    assert!(late.note.contains("is of `2026-11-21T09:00:00Z`, 4m before"), "{late:?}");
    let wrong = found(NOW, "database: telegraf", "database: nope")?;
    assert_eq!(wrong.status, Status::Failed);
    assert!(wrong.note.contains("database not found: nope"), "{wrong:?}");
    let none = found(
        NOW,
        "database: telegraf",
        "database: telegraf\n      columns: [{name: a, measurement: cpu, field: x}]",
    )?;
    assert_eq!(none.status, Status::Empty);
    assert!(
        none.note.contains("has no measurement `cpu`; it has kubernetes_pod_container"),
        "{none:?}"
    );
    Ok(())
}
