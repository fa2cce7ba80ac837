//! The label of a row from the labels of series: the image of a container, from a real Prometheus.

mod support;

#[path = "../../../tests/support/prometheus.rs"]
mod prometheus;

use anyhow::Result;
use prometheus::Prometheus;
use support::Place;

/// Seconds since 1970 of 2026-11-21T08:50:00Z.
const BEGIN: i64 = 1_795_251_000;

/// Returns cAdvisor's series of three pods: one with a sidecar, and two of one name in two namespaces.
fn cadvisor() -> String {
    let containers = [
        ("shop", "web-0", "app", "docker.io/library/nginx:1.25", 3e7),
        ("shop", "web-0", "proxy", "docker.io/envoyproxy/envoy:1", 1e7),
        ("shop", "db-0", "db", "docker.io/library/mariadb:10.11", 2e8),
        ("test", "db-0", "db", "docker.io/library/redis:7", 1e7),
    ];
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, value: &dyn Fn(f64, i64) -> f64| {
        text.push_str(&format!("# TYPE {name} {kind}\n"));
        let suffix = if kind == "counter" { "_total" } else { "" };
        for (namespace, pod, container, image, size) in containers {
            for step in 0..=40 {
                text.push_str(&format!(
                    "{name}{suffix}{{namespace=\"{namespace}\",pod=\"{pod}\",container=\"{container}\",image=\"{image}\"}} {} {}\n",
                    value(size, step),
                    BEGIN + step * 15
                ));
            }
        }
    };
    family("container_memory_working_set_bytes", "gauge", &|size, _| size);
    family("container_cpu_user_seconds", "counter", &|size, step| size / 1e7 * step as f64);
    text.push_str("# EOF\n");
    text
}

#[test]
fn the_profile_of_containers_reads_pods_with_their_images_from_cadvisor() -> Result<()> {
    let server = Prometheus::with(&cadvisor(), &[])?;
    let shipped = prometheus::samples().join("../container.yaml");
    let place = Place::new("step: 10s\nrange: 1m\nsources: {x: {table: {path: x}}}")?;
    let shipped = fs_err::read_to_string(shipped)?
        .replacen("format: 1\n", "format: 1\nprofile: prometheus\n", 1)
        .replace("http://prometheus.monitoring:9090", &server.url())
        .replace("range: 6h", "range: 5m");
    place.file("x.yaml", shipped)?;
    let samples = place.samples("2026-11-21T09:00:00Z", &[])?;
    assert_eq!(samples.table.entities, ["shop/db-0", "shop/web-0", "test/db-0"]);
    let labels = samples.labels.unwrap();
    let value = |name: &str, row: usize| samples.table.column(name).unwrap().values[row];
    for (row, label) in labels.iter().enumerate() {
        let (image, memory, cores) = match samples.table.entity_of(row) {
            "shop/db-0" => ("docker.io/library/mariadb:10.11", 2e8, 20.0 / 15.0),
            "shop/web-0" => ("docker.io/library/nginx:1.25", 4e7, 4.0 / 15.0),
            _ => ("docker.io/library/redis:7", 1e7, 1.0 / 15.0),
        };
        assert_eq!(label, image);
        assert!((value("memory_working_set_bytes", row) - memory).abs() < 1.0);
        assert!((value("cpu_user_cores", row) - cores).abs() < 1e-6);
    }
    assert_eq!(samples.table.rows(), 3 * 10);
    assert!(samples.table.column("threads").is_none(), "no kubelet has said how many");
    Ok(())
}

#[test]
fn a_label_of_a_source_without_series_is_refused() -> Result<()> {
    let place = Place::new(
        "step: 10s\nrange: 1m\nsources: {x: {table: {path: x.csv, time: t}, label: image}}",
    )?;
    let said = place.fails("2026-11-21T09:00:00Z", &[], 2)?;
    assert!(said.contains("sources.x.label"), "{said}");
    Ok(())
}
