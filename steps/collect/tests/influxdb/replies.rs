//! Replies that a real server does not give on demand.

use anyhow::Result;
use frames::Samples;

use super::fake::{Answer, Asked, Fake};
use super::support::Place;
use super::{NOW, NOW_MS, document};

fn text(status: u16, headers: &'static str, body: &str) -> Answer {
    (status, headers, body.as_bytes().to_vec())
}

/// Returns whether a request queries rows, not metadata.
fn asks_for_rows(asked: &Asked) -> bool {
    asked.others.iter().any(|pair| pair.starts_with("q=SELECT") && pair.contains("GROUP+BY"))
}

const ONE_COLUMN: &str =
    "      columns: [{name: a, measurement: m, field: x}]\n      entity_tags: [pod]\n";

fn line(first: i64, rows: i64, is_last: bool) -> String {
    let values: Vec<String> = (first..first + rows)
        .map(|row| format!("[{},{row}]", NOW_MS - 290_000 + row * 10_000))
        .collect();
    let partial = if is_last { "" } else { r#","partial":true"# };
    format!(
        r#"{{"results":[{{"statement_id":0,"series":[{{"name":"m","tags":{{"pod":"p"}},"columns":["time","x"],"values":[{}]{partial}}}]{partial}}}]}}"#,
        values.join(",")
    )
}

#[test]
fn cut_reply_is_requested_again() -> Result<()> {
    let (cut, whole) =
        (line(0, 10, false), format!("{}\n{}\n", line(0, 10, false), line(10, 20, true)));
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let fake = Fake::start(move |question| {
        if !asks_for_rows(question) {
            return text(200, "", r#"{"results":[{"statement_id":0}]}"#);
        }
        match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => text(200, "", &cut),
            1 => text(503, "Retry-After: 0\r\n", "busy"),
            2 => {
                text(200, "", r#"{"results":[{"statement_id":0,"error":"query timeout reached"}]}"#)
            }
            _ => text(200, "", &whole),
        }
    })?;
    let place = Place::new(&document(&fake.url(), ONE_COLUMN))?;
    let samples = place.samples(NOW, &[])?;
    assert_eq!(samples.table.rows(), 30);
    assert_eq!(place.outcome()?["counts"]["retries"], 3);
    let first = &fake.asked()[0];
    assert_eq!(first.method, "POST");
    for pair in ["db=telegraf", "epoch=ms", "chunked=true"] {
        assert!(first.others.iter().any(|other| other == pair), "{:?}", first.others);
    }
    Ok(())
}

#[test]
fn server_limit_halves_the_request() -> Result<()> {
    let fake = Fake::start(|asked| {
        let question = asked.others.iter().find(|pair| pair.starts_with("q=SELECT"));
        let Some(question) = question.filter(|_| asks_for_rows(asked)) else {
            return text(200, "", r#"{"results":[{"statement_id":0}]}"#);
        };
        let times: Vec<i64> =
            question.split("ms").filter_map(|word| word.rsplit('+').next()?.parse().ok()).collect();
        let (from, to) = (times[0], times[1]);
        if to - from > 100_000 {
            return text(
                200,
                "",
                r#"{"results":[{"error":"max-select-point limit exceeed: (9/8)"}]}"#,
            );
        }
        let first = (from - (NOW_MS - 300_000)) / 10_000;
        text(200, "", &line(first, (to - from) / 10_000, true))
    })?;
    let samples = Place::new(&document(&fake.url(), ONE_COLUMN))?.samples(NOW, &[])?;
    assert_eq!(samples.table.rows(), 30);
    let values: Vec<f64> = (0..30).map(f64::from).collect();
    assert_eq!(samples.table.columns[0].values, values);
    Ok(())
}

#[test]
fn server_clock_that_is_an_hour_off_is_warned_about() -> Result<()> {
    let cases = [
        ("08", "Date: Sat, 21 Nov 2026 08:00:00 GMT\r\n", "behind the last window"),
        ("10", "Date: Sat, 21 Nov 2026 10:00:00 GMT\r\n", "ahead of the last window"),
    ];
    for (clock, date, expected) in cases {
        let whole = line(0, 30, true);
        let fake = Fake::start(move |asked| {
            if asks_for_rows(asked) { text(200, date, &whole) } else { text(200, date, "{}") }
        })?;
        let place = Place::new(&document(&fake.url(), ONE_COLUMN))?;
        let store = format!("file://{}", place.path("store").display());
        place.samples(NOW, &["--store", &store, "--coverage", "coverage.json"])?;
        let warnings = place.outcome()?["warnings"].to_string();
        let shown = format!("shows `2026-11-21T{clock}:00:00Z`");
        assert!(warnings.contains(&shown) && warnings.contains(expected), "{warnings}");
        // A training may cover any earlier time.
        place.samples(NOW, &[])?;
        let warnings = place.outcome()?["warnings"].to_string();
        assert_eq!(warnings.contains("1h behind the last window"), clock == "08", "{warnings}");
        assert_eq!(warnings.contains(&shown), clock == "08", "{warnings}");
    }
    Ok(())
}

#[test]
fn a_tick_of_a_server_that_is_down_scores_nothing_and_waits() -> Result<()> {
    let down = document("http://127.0.0.1:9", "      retries: 0\n");
    let place = Place::new(&down)?;
    let store = format!("file://{}", place.path("store").display());
    let said = place.fails_keeping(NOW, &["--store", &store, "--coverage", "coverage.json"], 4)?;
    assert!(said.contains("cannot connect"), "{said}");
    Ok(())
}

/// A reply of 2.x: two fields of a pod in tables with columns in different orders.
const FLUX: &str = "#group,false,false,false,true,true,false
#datatype,string,long,dateTime:RFC3339,string,string,double
#default,_result,,,,,
,result,table,_time,_field,pod,_value
,,0,2026-11-21T08:55:10Z,x,p,1.5
,,0,2026-11-21T08:59:50Z,x,p,2.5

#group,false,false,true,true,false,false
#datatype,string,long,string,string,long,dateTime:RFC3339
#default,_result,,,,,
,result,table,_field,pod,_value,_time
,,1,n,p,0,2026-11-21T08:55:00Z
,,1,n,p,100,2026-11-21T08:55:10Z
,,1,n,p,200,2026-11-21T08:55:20Z

";

const TWO_COLUMNS: &str = "      columns: [{name: a, measurement: m, field: x}, {name: b, measurement: m, field: n, counter: true}]\n      entity_tags: [pod]\n";

/// Checks the value of a column at a time.
fn has(samples: &Samples, column: &str, time: &str, expected: f64) {
    let time: contract::Timestamp = time.parse().unwrap();
    let row = samples.table.times.iter().position(|of| *of == time).unwrap();
    let found = samples.table.column(column).unwrap().values[row];
    assert!((found - expected).abs() < 1e-9, "{column} at {time}: {found}, not {expected}");
}

#[test]
fn flux_of_2_x_is_asked_and_its_annotated_csv_is_read() -> Result<()> {
    let fake = Fake::start(|asked| {
        let body = asked.others.join("&");
        if body.contains("buckets()") {
            let kept = 120_000_000_000_i64;
            return text(
                200,
                "",
                &format!(
                    "#datatype,string,long,string,long\r\n#group,false,false,false,false\r\n#default,_result,,,\r\n,result,table,name,retentionPeriod\r\n,,0,telegraf,{kept}\r\n"
                ),
            );
        }
        text(200, "", &FLUX.replace('\n', "\r\n"))
    })?;
    let more = format!("      language: flux\n      organization: my team\n{TWO_COLUMNS}");
    let place = Place::new(&document(&fake.url(), &more))?;
    let samples = place.samples(NOW, &[])?;
    assert_eq!(samples.table.entities, ["p"]);
    has(&samples, "a", "2026-11-21T08:55:10Z", 1.5);
    has(&samples, "a", "2026-11-21T08:59:50Z", 2.5);
    has(&samples, "b", "2026-11-21T08:55:20Z", 10.0);
    let asked = fake.asked();
    let first = asked[0].others.join("&");
    assert!(first.contains("org=my+team"), "{first}");
    assert!(first.contains("from(bucket: \\\"telegraf\\\")"), "{first}");
    assert!(first.contains("\"annotations\":[\"datatype\",\"group\",\"default\"]"), "{first}");
    let warnings = place.outcome()?["warnings"].to_string();
    assert!(warnings.contains("of `telegraf` keeps 2m, and 5m are asked for"), "{warnings}");
    Ok(())
}

#[test]
fn an_error_of_flux_behind_good_rows_is_an_error_and_names_its_field() -> Result<()> {
    let fake = Fake::start(|_| {
        let error = "#datatype,string,string\n#group,true,true\n#default,,\n,error,reference\n,could not find bucket telegraf,1\n";
        text(200, "", &format!("{FLUX}{error}"))
    })?;
    let more = format!("      language: flux\n      organization: team\n{TWO_COLUMNS}");
    let said = Place::new(&document(&fake.url(), &more))?.fails(NOW, &[], 2)?;
    assert!(said.contains("could not find bucket telegraf"), "{said}");
    assert!(said.contains("sources.pods.influxdb.database is the bucket"), "{said}");
    Ok(())
}

#[test]
fn sql_of_3_x_asks_for_the_columns_that_are_there_and_reads_json_lines() -> Result<()> {
    let fake = Fake::start(|asked| {
        let body = asked.others.join("&");
        if body.contains("information_schema.columns") {
            let columns =
                ["time", "pod", "x"].map(|name| format!("{{\"column_name\":\"{name}\"}}\n"));
            return text(200, "", &columns.concat());
        }
        text(
            200,
            "",
            "{\"time\":\"2026-11-21T08:55:10\",\"pod\":\"p\",\"x\":1.5}\n{\"time\":\"2026-11-21T08:59:50.000000001\",\"pod\":\"p\",\"x\":2.5}\n",
        )
    })?;
    let place = Place::new(&document(&fake.url(), &format!("      language: sql\n{TWO_COLUMNS}")))?;
    let samples = place.samples(NOW, &[])?;
    has(&samples, "a", "2026-11-21T08:55:10Z", 1.5);
    has(&samples, "a", "2026-11-21T08:59:50Z", 2.5);
    assert!(samples.table.column("b").is_none(), "the measurement has no field `n`");
    let rows = fake.asked().into_iter().map(|asked| asked.others.join("&"));
    let rows: Vec<String> = rows.filter(|body| body.contains("ORDER BY \\\"pod")).collect();
    assert_eq!(rows.len(), 1, "one request for the rows");
    assert!(rows[0].contains("SELECT \\\"time\\\", \\\"pod\\\", \\\"x\\\" FROM"), "{}", rows[0]);
    Ok(())
}

#[test]
fn what_a_2_x_or_3_x_server_refuses_says_what_to_set() -> Result<()> {
    for (language, status, body, expected) in [
        ("flux", 401, r#"{"code":"unauthorized","message":"unauthorized access"}"#, "Token ..."),
        (
            "flux",
            404,
            r#"{"code":"not found","message":"organization name not found"}"#,
            "`organization`",
        ),
        ("sql", 401, r#"{"error":"cannot authenticate"}"#, "auth.bearer_token"),
        ("sql", 404, r#"{"error":"database not found"}"#, "check `database`"),
    ] {
        let fake = Fake::start(move |_| text(status, "", body))?;
        let organization = if language == "flux" { "      organization: team\n" } else { "" };
        let more = format!("      language: {language}\n{organization}{TWO_COLUMNS}");
        let said = Place::new(&document(&fake.url(), &more))?.fails(NOW, &[], 2)?;
        assert!(said.contains(expected), "{language} {status}: {said}");
    }
    Ok(())
}
