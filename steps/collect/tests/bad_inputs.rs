//! Many kinds of invalid inputs: each one gives a clear error and the right exit code, without a
//! panic and without leaving a file.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow_array::{ArrayRef, BinaryArray, Float64Array, Int64Array, RecordBatch, StringArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use support::Place;

const NOW: &str = "2026-11-21T10:00:00Z";
const TABLE: &str = "path: t.csv, time: t, time_format: seconds";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn table_fails(table: &str, file: &str, bytes: &[u8], code: i32) -> Result<String> {
    let place =
        Place::new(&format!("step: 1m\nrange: 1d\nsources: {{main: {{table: {{{table}}}}}}}"))?;
    place.file(file, bytes)?;
    place.fails(NOW, &[], code)
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn mangled_csv_is_refused_with_its_place() -> Result<()> {
    let columns = format!("{TABLE}, columns: [cpu]");
    let entity = format!("{TABLE}, entity: node, columns: [cpu]");
    let rfc = "path: t.csv, time: t, time_format: rfc3339, columns: [cpu]";
    let any = "path: t.csv, time: t, columns: [cpu]";
    let comma = format!("{TABLE}, delimiter: ','");
    let milliseconds = "path: t.csv, time: t, time_format: milliseconds";
    let semicolon = format!("{TABLE}, delimiter: ';'");
    let cut = gzip(b"t,cpu\n1795251600,1\n1795251660,2\n");
    let mut flipped = cut.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    let utf16: Vec<u8> = "\u{feff}t,cpu\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (TABLE, b"".to_vec(), "is empty"),
        (TABLE, b"\n\n\n".to_vec(), "is empty"),
        (TABLE, b"\xef\xbb\xbf".to_vec(), "is empty"),
        (TABLE, b",,\n1,2,3\n".to_vec(), "has no header"),
        (TABLE, b"cpu\n1\n".to_vec(), "has no column `t`"),
        (&comma, b"t;cpu\n1795251600;1\n".to_vec(), "has no column `t`"),
        (TABLE, b"T,cpu\n1795251600,1\n".to_vec(), "has no column `t`"),
        (TABLE, b"t\n1795251600\n".to_vec(), "no numeric column"),
        (TABLE, b"t,note\n1795251600,x\n".to_vec(), "no numeric column"),
        (TABLE, b"t,empty\n1795251600,\n".to_vec(), "no numeric column"),
        (TABLE, b"t,cpu\n".to_vec(), "no numeric column"),
        (TABLE, b"t,label,cpu\n1795251600,0,1\n".to_vec(), "column `label` cannot be a sample"),
        (TABLE, b"t,time,cpu\n1795251600,0,1\n".to_vec(), "column `time` cannot be a sample"),
        (TABLE, b"t,warm_up,cpu\n1795251600,0,1\n".to_vec(), "column `warm_up` cannot be"),
        (&columns, b"t,memory\n1795251600,1\n".to_vec(), "has no column `cpu`"),
        (&columns, b"t,cpu\n1795251600,1\n1795251660\n".to_vec(), "t.csv:3`: 1 cells, expected 2"),
        (&columns, b"t,cpu\n1795251600,1,9\n".to_vec(), "t.csv:2`: 3 cells, expected 2"),
        (&columns, b"t,cpu\n1795251600,1.234,5\n".to_vec(), "t.csv:2`: 3 cells"),
        (
            &columns,
            b"t,cpu\n1795251600,1\n1795251660,lots\n".to_vec(),
            "t.csv:3`: column `cpu`: `lots`",
        ),
        (&columns, b"t,cpu\n1795251600,\"1,5\"\n".to_vec(), "`1,5` is not a number"),
        (&columns, b"t,cpu\n1795251600,0x10\n".to_vec(), "`0x10` is not a number"),
        (&columns, b"t,cpu\n1795251600,1 000\n".to_vec(), "`1 000` is not a number"),
        (&columns, b"t,cpu\n1795251600,true\n".to_vec(), "`true` is not a number"),
        (&columns, b"t,cpu\n1795251600,10%\n".to_vec(), "`10%` is not a number"),
        (
            &columns,
            b"t,cpu\n1795251600,\xff\n".to_vec(),
            "column `cpu`: the cell is not UTF-8: byte 0xff in the row that begins at byte 6",
        ),
        (&columns, b"t,cpu\n1795251600,\x00\n".to_vec(), "is not a number"),
        (&columns, b"t,cpu\n,1\n".to_vec(), "t.csv:2`: column `t`: ``"),
        (&columns, b"t,cpu\nnoon,1\n".to_vec(), "`noon` is not a time in seconds"),
        (&columns, b"t,cpu\nNaN,1\n".to_vec(), "`NaN` is not a time in seconds"),
        (&columns, b"t,cpu\n1e30,1\n".to_vec(), "is not a time in seconds"),
        (&columns, b"t,cpu\n1795251600000,1\n".to_vec(), "is it milliseconds?"),
        (&columns, b"t,cpu\n2026-11-21T09:00:00Z,1\n".to_vec(), "is not a time in seconds"),
        (rfc, b"t,cpu\n1795251600,1\n".to_vec(), "`time_format` takes"),
        (rfc, b"t,cpu\n2026-11-21,1\n".to_vec(), "`2026-11-21` has no time zone"),
        (any, b"t,cpu\n2026-11-21 09:00:00,1\n".to_vec(), "has no time zone: set"),
        (any, b"t,cpu\n21/11/2026 9:00,1\n".to_vec(), "a pattern such as \"%d/%m/%Y %H:%M\""),
        (rfc, b"t,cpu\n2026-02-30T00:00:00Z,1\n".to_vec(), "is not a time"),
        (milliseconds, b"t,cpu\n9e99,1\n".to_vec(), "is not a time in milliseconds"),
        (&semicolon, b"t,cpu\n1795251600,1\n".to_vec(), "has no column `t`"),
        (&entity, b"t,cpu\n1795251600,1\n".to_vec(), "has no column `node`"),
        (
            &entity,
            b"t,node,cpu\n1795251600,\xc3\x28,1\n".to_vec(),
            "column `node`: the cell is not",
        ),
        (TABLE, cut[..cut.len() - 9].to_vec(), "t.csv"),
        (TABLE, cut[..12].to_vec(), "t.csv"),
        (TABLE, flipped, "t.csv"),
        (TABLE, b"\x1f\x8b".to_vec(), "t.csv"),
        (TABLE, utf16, "UTF-16"),
        (TABLE, b"PAR1\x15\x04".to_vec(), "is a Parquet file"),
        (TABLE, b"<html><body>Sign in</body></html>".to_vec(), "has no column `t`"),
        (TABLE, br#"{"t": 1, "cpu": 2}"#.to_vec(), "has no column `t`"),
        (TABLE, (0..=255).cycle().take(10_000).collect(), "t.csv"),
    ];
    assert!(cases.len() >= 48);
    for (table, bytes, part) in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        let said = table_fails(table, "t.csv", &bytes, 3).context(shown.clone())?;
        assert!(said.contains("t.csv") && said.contains(part), "{shown:?}\n{said}");
    }
    Ok(())
}

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<u8>> {
    let batch = RecordBatch::try_from_iter(columns)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None)?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

#[test]
fn mangled_parquet_is_refused() -> Result<()> {
    let numbers = |values: Vec<Option<f64>>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
    let seconds = |values: Vec<Option<i64>>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let good = parquet(vec![
        ("t", seconds((0..500).map(|i| Some(1_795_251_600 - 60 * i)).collect())),
        ("cpu", numbers((0..500).map(|i| Some(f64::from(i))).collect())),
    ])?;
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![b"x".as_slice()]));
    let now = || seconds(vec![Some(1_795_251_600)]);
    let table = TABLE.replace("t.csv", "t.parquet");
    let named = format!("{table}, columns: [cpu]");
    let rfc = "path: t.parquet, time: t, time_format: rfc3339";
    let mut cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (&table, Vec::new(), "Parquet"),
        (&table, b"PAR1".to_vec(), "Parquet"),
        (&table, b"t,cpu\n1,2\n".to_vec(), "Parquet"),
        (&table, vec![0; 1000], "Parquet"),
        (&table, gzip(&good), "Parquet"),
        (&table, good[..good.len() / 2].to_vec(), "Parquet"),
        (&table, good[..good.len() - 1].to_vec(), "Parquet"),
        (&table, good[4..].to_vec(), "Parquet"),
        (&table, parquet(vec![("cpu", numbers(vec![Some(1.0)]))])?, "has no column `t`"),
        (&table, parquet(vec![("t", now())])?, "no numeric column"),
        (&table, parquet(vec![("t", now()), ("x", texts.clone())])?, "no numeric column"),
        (&table, parquet(vec![("t", now()), ("x", bytes.clone())])?, "no numeric column"),
        (&named, parquet(vec![("t", now()), ("cpu", texts.clone())])?, "`x` is not a number"),
        (&named, parquet(vec![("t", now()), ("cpu", bytes)])?, "expected numbers"),
        (&named, parquet(vec![("t", texts), ("cpu", numbers(vec![None]))])?, "`x` is not a time"),
        (&named, parquet(vec![("t", seconds(vec![None])), ("cpu", numbers(vec![None]))])?, "row 1"),
        (
            &named,
            parquet(vec![("t", seconds(vec![Some(i64::MAX)])), ("cpu", numbers(vec![None]))])?,
            "milliseconds?",
        ),
        (
            &named,
            parquet(vec![("t", numbers(vec![Some(f64::NAN)])), ("cpu", numbers(vec![None]))])?,
            "is not a time",
        ),
        (rfc, parquet(vec![("t", now()), ("cpu", numbers(vec![None]))])?, "is not a time such as"),
    ];
    // The footer has the positions of all data: any damage in it must be detected.
    for place in (good.len() - 200..good.len() - 8).step_by(40) {
        let mut broken = good.clone();
        broken[place..place + 8].fill(0xff);
        cases.push((&table, broken, ""));
    }
    for (number, (table, bytes, part)) in cases.into_iter().enumerate() {
        let said = table_fails(table, "t.parquet", &bytes, 3).context(format!("case {number}"))?;
        assert!(said.contains("t.parquet") && said.contains(part), "case {number}: {said}");
    }
    Ok(())
}

const REPLY: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"job":"a"},"values":[[1795251600,"1"],[1795251660,"2"]]}]}}"#;

fn recording_document(queries: &str) -> String {
    format!(
        "step: 1m\nrange: 1d\nsources: {{main: {{recording: {{path: replies}}, queries: [{queries}]}}}}"
    )
}

#[test]
fn mangled_replies_are_refused() -> Result<()> {
    let packed = gzip(REPLY.as_bytes());
    let with = |from: &str, to: &str| REPLY.replacen(from, to, 1).into_bytes();
    let series = r#"{"metric":{"job":"a"},"values":[[1795251600,"1"],[1795251660,"2"]]}"#;
    let another = format!("{series},{}", series.replace(r#""a""#, r#""b""#));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a.json", Vec::new(), "cut or no JSON"),
        ("a.json", REPLY.as_bytes()[..REPLY.len() / 2].to_vec(), "cut or no JSON"),
        ("a.json", REPLY.as_bytes()[..REPLY.len() - 1].to_vec(), "cut or no JSON"),
        ("a.json", format!("{REPLY}{REPLY}").into_bytes(), "cut or no JSON"),
        ("a.json", b"\xff\xfe".to_vec(), "cut or no JSON"),
        ("a.json", b"<html>".to_vec(), "web page"),
        ("a.json", b"null".to_vec(), "query_range"),
        ("a.json", b"[]".to_vec(), "query_range"),
        ("a.json", b"{}".to_vec(), "query_range"),
        ("a.json", br#"{"status":"success"}"#.to_vec(), "no `data`"),
        (
            "a.json",
            br#"{"status":"error","errorType":"bad_data","error":"x"}"#.to_vec(),
            "bad_data: x",
        ),
        ("a.json", with("success", "error"), "error"),
        ("a.json", with("matrix", "vector"), "`vector`"),
        ("a.json", with("matrix", "streams"), "`streams`"),
        ("a.json", with(r#""result""#, r#""results""#), "query_range"),
        ("a.json", with(r#""metric""#, r#""stream""#), "query_range"),
        ("a.json", with(r#"{"job":"a"}"#, r#"{"job":1}"#), "query_range"),
        ("a.json", with(r#""1""#, "1"), "query_range"),
        ("a.json", with(r#""1""#, r#""one""#), "`one` is not a number"),
        ("a.json", with(r#""1""#, r#""""#), "is not a number"),
        ("a.json", with(r#""1""#, "null"), "query_range"),
        ("a.json", with("1795251600", r#""1795251600""#), "query_range"),
        ("a.json", with("1795251600", "1e300"), "not a time in seconds"),
        ("a.json", with("1795251660", "1795251600"), "two values"),
        ("a.json", with(r#""values""#, r#""histograms""#), "native histograms"),
        ("a.json", with(series, &another), "several series"),
        ("a.json", with(series, &format!("{series},{series}")), "two values"),
        ("a.json", with(series, ""), "no query returned a value"),
        ("a.json", with(r#"[1795251600,"1"],[1795251660,"2"]"#, ""), "no query returned a value"),
        ("a.json.gz", packed[..packed.len() / 2].to_vec(), "cannot unpack"),
        ("a.json.gz", packed[..packed.len() - 4].to_vec(), "cannot unpack"),
        ("a.json.gz", packed[..10].to_vec(), "cannot unpack"),
        ("a.json.gz", gzip(b"hello"), "cut or no JSON"),
    ];
    for (number, (name, bytes, part)) in cases.into_iter().enumerate() {
        let place = Place::new(&recording_document("{name: a, promql: x}"))?;
        place.file(&format!("replies/{name}"), bytes)?;
        let said = place.fails(NOW, &[], 3).context(format!("case {number}"))?;
        assert!(said.contains(part), "case {number}: {said}");
    }
    Ok(())
}

#[test]
fn duplicate_entities_are_refused() -> Result<()> {
    let place = Place::new(&recording_document("{name: a, promql: x, entity: node}"))?;
    place.file("replies/a.json", REPLY)?;
    assert!(place.fails(NOW, &[], 3)?.contains("without the entity label `node`"));
    Ok(())
}

#[test]
fn missing_or_mismatched_flag_inputs_are_refused() -> Result<()> {
    let recording = recording_document("{name: a, promql: x}");
    let table = "step: 1m\nrange: 1d\nsources: {main: {table: {path: t.csv, time: t}}}";
    for (document, flags, part) in [
        (recording.as_str(), &[][..], "replies"),
        (recording.as_str(), &["--source", "nowhere"][..], "nowhere"),
        (recording.as_str(), &["--source", "x.yaml"][..], "x.yaml"),
        (recording.as_str(), &["--source", "empty"][..], "has no reply to query `a`"),
        (recording.as_str(), &["--document", "nowhere.yaml"][..], ""),
        (recording.as_str(), &["--now", "noon"][..], ""),
        (recording.as_str(), &["--start", "2026-11-21T10:00:00Z"][..], "leaves no window"),
        (recording.as_str(), &["--start", "2030-01-01T00:00:00Z"][..], "leaves no window"),
        (
            recording.as_str(),
            &["--start", "2026-11-21T09:00:00Z", "--store", "file:///tmp/x"][..],
            "cannot be used with",
        ),
        (table, &[][..], "t.csv"),
        (table, &["--source", "nowhere.csv"][..], "nowhere.csv"),
        (table, &["--source", "table.csv", "--record", "record"][..], "--record"),
    ] {
        let place = Place::new(document)?;
        fs_err::create_dir(place.path("empty"))?;
        place.file("table.csv", "t,cpu\n")?;
        let output = place.collect(NOW, flags)?;
        let said = support::stderr(&output);
        // A file instead of a folder is refused, a missing path is a usage error.
        let code = if part == "x.yaml" { 3 } else { 2 };
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {said}");
        assert!(said.contains(part), "{flags:?}: {said}");
        assert!(!place.path("samples.parquet").exists() && !place.path("record").exists());
    }
    Ok(())
}

#[test]
fn unusable_secrets_are_reported_without_being_shown() -> Result<()> {
    for (settings, part) in [
        ("auth: {bearer_token: {file: nowhere}}", "nowhere"),
        ("auth: {bearer_token: {file: empty}}", "contains no text"),
        ("auth: {bearer_token: {file: lines}}", "cannot be sent in a header"),
        ("auth: {bearer_token: {file: binary}}", "contains no text"),
        ("auth: {basic: {username: me, password: {file: nowhere}}}", "nowhere"),
        ("headers: {'a b': hunter2}", "is not a header name"),
        ("headers: {X-Key: \"hunter2\\n\"}", "cannot be sent in a header"),
        ("tls: {ca_file: lines}", "holds no certificate"),
        ("tls: {client_identity_file: lines}", "holds no certificate with its key"),
    ] {
        let place = Place::new(&format!(
            "step: 1m\nrange: 1d\nsources: {{main: {{prometheus: {{url: 'http://127.0.0.1:1', {settings}}}, queries: [{{name: a, promql: x}}]}}}}"
        ))?;
        place.file("empty", "\n")?;
        place.file("lines", "hunter2\nhunter3\n")?;
        place.file("binary", b"\xff\xfe")?;
        let said = place.fails(NOW, &[], 2)?;
        assert!(said.contains(part), "{settings}: {said}");
        assert!(!said.contains("hunter"), "{said}");
    }
    let place = Place::new(
        "step: 1m\nrange: 1d\nsources: {main: {prometheus: {url: 'http://me:hunter2@127.0.0.1:1'}, queries: [{name: a, promql: x}]}}",
    )?;
    let said = place.fails(NOW, &[], 2)?;
    assert!(!said.contains("hunter2"), "{said}");
    Ok(())
}
