//! The cost of a scrape of exporters, and the reported failures.

mod exporters;
mod support;

use anyhow::{Result, ensure};
use contract::Span;
use exporters::{Answer, Exporters, METRICS, central, document, exposition, open, time};
use frames::samples::text_number;
use support::Place;

#[test]
fn endpoint_without_metrics_has_no_row_and_a_reason() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = open(&format!("file://{}", folder.path().join("store").display()))?;
    let exporters = Exporters::start(8)?;
    let ten_megabytes =
        format!("{}{}", "other_metric{a=\"b\"} 1\n".repeat(480_000), exposition(2.0, 5));
    let answers = [
        (Answer::Text(exposition(1.0, 1)), None),
        (Answer::Text("<html><body>log in</body></html>\n".into()), Some("a web page")),
        (Answer::Truncated(exposition(1.0, 1)), Some("")),
        (Answer::Status(503), Some("503")),
        (Answer::Silence, Some("no whole reply before the timeout")),
        (Answer::Stalled(exposition(1.0, 1)), Some("no whole reply before the timeout")),
        (Answer::Text(ten_megabytes), None),
        (Answer::Text(format!("{}node_load1 9\n", exposition(f64::NAN, 1))), Some("sent twice")),
    ];
    for (node, (answer, _)) in answers.iter().enumerate() {
        exporters.answer(node, answer.clone());
    }
    let document = document(&exporters.urls(), "")?;
    let spool = folder.path().join("spool");
    let mut recorder = central(&document, folder.path(), &store, &spool)?;
    let step = recorder.step(time(0, 10))?;
    assert_eq!(step.rows, 3, "{:?}", step.failures);
    for (node, (_, part)) in answers.iter().enumerate() {
        let url = &exporters.urls()[node];
        let said = step.failures.iter().find(|failure| failure.contains(url.as_str()));
        match part {
            None => assert_eq!(said, None),
            Some(part) => assert!(said.is_some_and(|said| said.contains(part)), "{url}: {said:?}"),
        }
    }
    Ok(())
}

#[test]
fn endpoints_come_from_a_file_that_is_read_at_each_scrape() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = open(&format!("file://{}", folder.path().join("store").display()))?;
    let exporters = Exporters::start(2)?;
    for node in 0..2 {
        exporters.answer(node, Answer::Text(exposition(1.0, 1)));
    }
    let text = "format: 1\nname: node\nstep: 10s\nrange: 5m\nsources: {nodes: {exporter: {file: nodes.txt}}}\n\
        features: [raw: {}]\nmodels: {z_score: {}}\nvote: {combine: mean, threshold: {quantile: {share: 0.99}}}\n";
    let document = document::parse("x.yaml", text)?.with_base(folder.path()).into();
    let list = folder.path().join("nodes.txt");
    fs_err::write(&list, format!("# two nodes\n{}\n", exporters.urls()[0]))?;
    let spool = folder.path().join("spool");
    let mut recorder = central(&document, folder.path(), &store, &spool)?;
    assert_eq!(recorder.step(time(0, 10))?.rows, 1);
    fs_err::write(&list, exporters.urls().join("\n"))?;
    assert_eq!(recorder.step(time(0, 20))?.rows, 2);
    fs_err::remove_file(&list)?;
    let step = recorder.step(time(0, 30))?;
    ensure!(step.rows == 0 && step.failures[0].contains("nodes.txt"), "{step:?}");
    Ok(())
}

#[test]
fn texts_are_labels_of_the_endpoint_or_of_its_info_metric_and_are_recorded() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = format!("file://{}", folder.path().join("store").display());
    let store = open(&url)?;
    let exporters = Exporters::start(3)?;
    let pool = "node_info{pool=\"gpu\",nodename=\"n\"} 1\n";
    for (node, info) in [pool, pool, ""].into_iter().enumerate() {
        exporters.answer(node, Answer::Text(format!("{info}{}", exposition(1.0, 1))));
    }
    let text = format!(
        "format: 1\nname: node\nstep: 10s\nrange: 5m\nsources: {{nodes: {{exporter: {{file: nodes.txt, \
         info: node_info, {METRICS}}}, entity: {{texts: {{role: pool}}}}}}}}\nfeatures: [peers: {{window: 1m, \
         group_by: role}}]\nmodels: {{z_score: {{}}}}\nvote: {{combine: mean, threshold: {{quantile: {{share: 0.99}}}}}}\n"
    );
    let document = document::parse("x.yaml", &text)?.with_base(folder.path()).into();
    let [first, second, third] = [0, 1, 2].map(|node| exporters.urls()[node].clone());
    let list = format!("{first} pool=control # its own label\n{second}\n{third} other=x\n");
    fs_err::write(folder.path().join("nodes.txt"), list)?;
    let spool = folder.path().join("spool");
    let mut recorder = central(&document, folder.path(), &store, &spool)?;
    let step = recorder.step(time(0, 10))?;
    assert_eq!((step.rows, step.failures.len()), (3, 0), "{step:?}");
    fs_err::write(folder.path().join("nodes.txt"), format!("{first} control\n"))?;
    let failures = recorder.step(time(0, 20))?.failures;
    assert!(failures[0].contains("`control` is not a label"), "{failures:?}");
    recorder.finish()?;
    let place = Place::new("")?;
    place.file("x.yaml", &text)?;
    let samples = place.samples(&time(1, 0).to_string(), &["--recorded", &url])?;
    let roles = &samples.table.column("role").unwrap().values;
    let role_of = |url: &str| {
        let host = url.split("//").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
        let row = (0..3).find(|row| samples.table.entity_of(*row) == host).unwrap();
        Some(roles[row]).filter(|role| !role.is_nan())
    };
    assert_eq!(role_of(&first), text_number("control"));
    assert_eq!(role_of(&second), text_number("gpu"));
    assert_eq!(role_of(&third), None);
    Ok(())
}

#[test]
fn a_thousand_endpoints_are_scraped_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = open(&format!("file://{}", folder.path().join("store").display()))?;
    let exporters = Exporters::start(1)?;
    exporters.answer(0, Answer::Text(exposition(1.0, 1)));
    // One server under a thousand names.
    let urls: Vec<String> =
        (0..1000).map(|node| format!("{}?node={node}", exporters.urls()[0])).collect();
    let mut document = document(&urls, "")?;
    document.sources.get_mut("nodes").unwrap().exporter.as_mut().unwrap().timeout =
        Span::from_seconds(60);
    let spool = folder.path().join("spool");
    let mut recorder = central(&document, folder.path(), &store, &spool)?;
    let step = recorder.step(time(0, 10))?;
    // All of them are one entity: host and port are the same.
    assert_eq!((step.rows, step.failures.len()), (1, 999));
    assert!(step.failures.iter().all(|failure| failure.contains("another endpoint")));
    Ok(())
}
