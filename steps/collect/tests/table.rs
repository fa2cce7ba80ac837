//! `collect` from tables in files.

mod support;

use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use frames::Samples;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression as Codec;
use parquet::file::properties::WriterProperties;
use support::Place;

const NOW: &str = "2026-11-21T10:00:00Z";

fn document(table: &str) -> String {
    format!("step: 1m\nrange: 1d\nsources: {{main: {{table: {{{table}}}}}}}")
}

fn rows(samples: &Samples) -> Vec<(String, &str, Vec<f64>)> {
    let table = &samples.table;
    let values = |row: usize| table.columns.iter().map(|column| column.values[row]).collect();
    (0..table.rows())
        .map(|row| (table.times[row].to_string(), table.entity_of(row), values(row)))
        .collect()
}

#[test]
fn table_in_any_text_format_gives_the_same_samples() -> Result<()> {
    let plain = "time,node,cpu,note,memory,label\n\
        2026-11-21T09:00:00Z,a,1,x,10,normal\n\
        2026-11-21T09:00:00Z,b,2.5e0,\"y, z\",,normal\n\
        2026-11-21T09:01:00Z,a,NaN,,null,fault\n\
        2026-11-21T09:01:00Z,b,-Inf,z,13,fault\n";
    let gzip = |text: &str| -> Result<Vec<u8>> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(text.as_bytes())?;
        Ok(packed.finish()?)
    };
    let semicolons = plain.replace("\"y, z\"", "y").replace(',', ";");
    let seconds = plain
        .replace("2026-11-21T09:00:00Z", "1795251600")
        .replace("2026-11-21T09:01:00Z", "1795251660.0");
    let milliseconds = seconds.replace("1795251600", "1795251600000");
    let milliseconds = milliseconds.replace("1795251660.0", "1795251660000");
    let unsorted: Vec<&str> = plain.lines().collect();
    let unsorted = [unsorted[0], unsorted[3], unsorted[1], unsorted[2], unsorted[4]].join("\n");
    let keys = "path: t.csv, time: time, entity: node, label: label, columns: [cpu, memory]";
    let mut written: Vec<Vec<u8>> = Vec::new();
    for (table, bytes) in [
        (keys.to_owned(), plain.as_bytes().to_vec()),
        (keys.to_owned(), gzip(plain)?),
        (keys.to_owned(), format!("\u{feff}{}", plain.replace('\n', "\r\n")).into_bytes()),
        (keys.to_owned(), plain.trim_end().as_bytes().to_vec()),
        (keys.to_owned(), plain.replace(",cpu,", ",\"cpu\",").into_bytes()),
        (format!("{keys}, delimiter: ';'"), semicolons.as_bytes().to_vec()),
        (format!("{keys}, delimiter: '\\t'"), semicolons.replace(';', "\t").into_bytes()),
        (format!("{keys}, time_format: seconds"), seconds.into_bytes()),
        (format!("{keys}, time_format: milliseconds"), milliseconds.into_bytes()),
        (keys.to_owned(), unsorted.into_bytes()),
        // The columns of numbers are detected without being named.
        (keys.replace(", columns: [cpu, memory]", ""), plain.as_bytes().to_vec()),
    ] {
        let place = Place::new(&document(&table))?;
        place.file("t.csv", bytes)?;
        let samples = place.samples(NOW, &[])?;
        let found = rows(&samples);
        assert_eq!(found[0], ("2026-11-21T09:00:00Z".to_owned(), "a", vec![1.0, 10.0]), "{table}");
        assert_eq!(found.len(), 4);
        assert!(found[1].2[1].is_nan() && found[2].2[0].is_nan() && found[3].2[0].is_infinite());
        assert_eq!(samples.labels.as_ref().unwrap(), &["normal", "normal", "fault", "fault"]);
        let counts = &place.outcome()?["counts"];
        for (name, count) in [
            ("rows", 4),
            ("columns", 2),
            ("points", 6),
            ("gaps", 2),
            ("nan_values", 1),
            ("infinite_values", 1),
            ("entities", 2),
        ] {
            assert_eq!(counts[name], count, "{name}");
        }
        written.push(fs_err::read(place.path("samples.parquet"))?);
    }
    assert!(written.windows(2).all(|pair| pair[0] == pair[1]), "the same bytes");
    Ok(())
}

#[test]
fn non_numeric_columns_are_dropped_and_named_with_their_first_cell() -> Result<()> {
    let place = Place::new(&document("path: t.csv, start: '2026-11-21T09:00:00Z'"))?;
    place.file("t.csv", ",cpu,note,empty\n0,1,2,\n1,2,seven,\n")?;
    let samples = place.samples(NOW, &[])?;
    assert_eq!(samples.table.columns.len(), 1);
    let warnings = place.outcome()?["warnings"].to_string();
    for part in [
        "column `` is left out: it has no name",
        "t.csv:3`: column `note`: `seven`",
        "column `empty` is left out: it holds no number",
    ] {
        assert!(warnings.contains(part), "{warnings}");
    }
    Ok(())
}

#[test]
fn rows_without_times_are_a_step_apart_for_each_entity() -> Result<()> {
    let place =
        Place::new(&document("path: t.csv, start: '2030-01-01T00:00:00Z', entity: machine"))?;
    place.file("t.csv", "machine,cpu\na,1\na,2\nb,3\nb,4\n")?;
    let samples = place.samples(NOW, &[])?;
    let found: Vec<(String, &str, f64)> = rows(&samples)
        .into_iter()
        .map(|(time, entity, values)| (time, entity, values[0]))
        .collect();
    let expected = [
        ("2030-01-01T00:00:00Z", "a", 1.0),
        ("2030-01-01T00:00:00Z", "b", 3.0),
        ("2030-01-01T00:01:00Z", "a", 2.0),
        ("2030-01-01T00:01:00Z", "b", 4.0),
    ];
    assert_eq!(found, expected.map(|(time, entity, value)| (time.to_owned(), entity, value)));
    Ok(())
}

#[test]
fn rows_with_times_are_those_of_the_range() -> Result<()> {
    let place = Place::new(&document("path: t.csv, time: t, time_format: seconds"))?;
    let lines: Vec<String> =
        (0..3 * 1440).map(|minute| format!("{},1\n", 1_795_082_400 + 60 * minute)).collect();
    place.file("t.csv", format!("t,cpu\n{}", lines.concat()))?;
    let said = place.fails("2027-11-21T10:00:00Z", &[], 3)?;
    ensure!(said.contains("all 4320 rows of `") && said.contains("--now TIME"), "{said}");
    let extent = |samples: &Samples| {
        let times = &samples.table.times;
        (times.len(), times[0].to_string(), times[times.len() - 1].to_string())
    };
    let text = |rows: usize, from: &str, to: &str| (rows, from.to_owned(), to.to_owned());
    assert_eq!(
        extent(&place.samples(NOW, &[])?),
        text(1440, "2026-11-20T10:01:00Z", "2026-11-21T10:00:00Z")
    );
    assert_eq!(
        extent(&place.samples(NOW, &["--start", "2026-11-21T09:30:00Z"])?),
        text(30, "2026-11-21T09:31:00Z", "2026-11-21T10:00:00Z")
    );
    let store = format!("file://{}", place.path("store").display());
    assert_eq!(
        extent(&place.samples(NOW, &["--store", &store])?),
        text(1, "2026-11-21T09:59:00Z", "2026-11-21T09:59:00Z")
    );
    Ok(())
}

#[test]
fn a_table_longer_than_a_block_keeps_all_its_rows() -> Result<()> {
    use std::fmt::Write as _;
    let place = Place::new(&document("path: t.csv, start: '2026-01-01T00:00:00Z'"))?;
    let mut text = String::from("cpu\n");
    for row in 0..50_000 {
        writeln!(text, "{row}")?;
    }
    place.file("t.csv", text)?;
    let samples = place.samples(NOW, &[])?;
    let values = &samples.table.columns[0].values;
    assert!((0..50_000).all(|row| (values[row] - row as f64).abs() < 0.5));
    Ok(())
}

#[test]
fn peak_memory_does_not_grow_with_the_rows_of_a_table() -> Result<()> {
    use std::fmt::Write as _;
    let mut peaks: [Vec<f64>; 2] = Default::default();
    for rows in [40_000_i64, 400_000] {
        let times = 1_794_800_000..1_794_800_000 + rows;
        let mut csv = String::from("when,pod,cpu,forks\n");
        for time in times.clone() {
            writeln!(csv, "{time},pod-{},{}.5,{}", time % 100, time % 7, time % 11)?;
        }
        // One row group, as pandas writes it.
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("when", Arc::new(Int64Array::from_iter_values(times.clone()))),
            (
                "pod",
                Arc::new(StringArray::from_iter_values(
                    times.clone().map(|time| format!("pod-{}", time % 100)),
                )),
            ),
            (
                "cpu",
                Arc::new(Float64Array::from_iter_values(
                    times.clone().map(|time| (time % 7) as f64 + 0.5),
                )),
            ),
            ("forks", Arc::new(Int64Array::from_iter_values(times.map(|time| time % 11)))),
        ];
        let parquet = parquet(columns, Codec::SNAPPY)?;
        for (peaks, (name, bytes)) in
            peaks.iter_mut().zip([("t.csv", csv.into_bytes()), ("t.parquet", parquet)])
        {
            let table = format!("path: {name}, time: when, time_format: seconds, entity: pod");
            let head = document(&table).replace("step: 1m\nrange: 1d", "step: 1s\nrange: 30d");
            let place = Place::new(&head)?;
            place.file(name, bytes)?;
            let output = place.collect(NOW, &[])?;
            ensure!(output.status.success(), "{}", support::stderr(&output));
            let outcome = place.outcome()?;
            assert_eq!(outcome["counts"]["rows"], rows);
            peaks.push(outcome["peak_memory_bytes"].as_f64().unwrap());
        }
    }
    // In memory, the additional rows would take 30 MB.
    ensure!(peaks.iter().all(|peaks| peaks[1] < peaks[0] + 12e6), "{peaks:?}");
    Ok(())
}

/// Writes a Parquet file as another program would.
fn parquet(columns: Vec<(&str, ArrayRef)>, codec: Codec) -> Result<Vec<u8>> {
    let batch = RecordBatch::try_from_iter(columns)?;
    let properties = WriterProperties::builder().set_compression(codec).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

#[test]
fn a_parquet_table_is_read_in_any_compression() -> Result<()> {
    for codec in [
        Codec::UNCOMPRESSED,
        Codec::SNAPPY,
        Codec::GZIP(parquet::basic::GzipLevel::default()),
        Codec::ZSTD(parquet::basic::ZstdLevel::default()),
        Codec::BROTLI(parquet::basic::BrotliLevel::default()),
        Codec::LZ4,
        Codec::LZ4_RAW,
    ] {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("when", Arc::new(Int64Array::from(vec![1_795_251_660, 1_795_251_600]))),
            ("pod", Arc::new(StringArray::from(vec!["b", "a"]))),
            ("note", Arc::new(StringArray::from(vec!["x", "y"]))),
            ("cpu", Arc::new(Float64Array::from(vec![None, Some(f64::NAN)]))),
            ("forks", Arc::new(Int64Array::from(vec![7, 8]))),
        ];
        let table = "path: t.parquet, time: when, time_format: seconds, entity: pod";
        let place = Place::new(&document(table))?;
        place.file("t.parquet", parquet(columns, codec)?)?;
        let samples = place.samples(NOW, &[])?;
        let found = rows(&samples);
        assert_eq!((found[0].1, found[0].2[1]), ("a", 8.0), "sorted by time");
        let outcome = place.outcome()?;
        assert_eq!(
            (&outcome["counts"]["gaps"], &outcome["counts"]["nan_values"]),
            (&1.into(), &1.into())
        );
        assert!(outcome["warnings"].to_string().contains("column `note` is left out"));
    }
    Ok(())
}

#[test]
fn samples_that_were_collected_are_a_table_too() -> Result<()> {
    let first = Place::new(&document("path: t.csv, time: t, entity: n, label: l"))?;
    first.file("t.csv", "t,n,l,cpu\n2026-11-21T09:00:00Z,a,x,1\n2026-11-21T09:01:00Z,a,y,\n")?;
    first.samples(NOW, &[])?;
    let bytes = fs_err::read(first.path("samples.parquet"))?;
    let second =
        Place::new(&document("path: t.parquet, time: time, entity: entity, label: label"))?;
    second.file("t.parquet", &bytes)?;
    second.samples(NOW, &[])?;
    ensure!(fs_err::read(second.path("samples.parquet"))? == bytes);
    Ok(())
}

#[test]
fn rows_between_steps_are_kept_with_a_warning() -> Result<()> {
    let place = Place::new(&document("path: t.csv, time: t, time_format: seconds"))?;
    place.file("t.csv", "t,cpu\n1795251600,1\n1795251661.5,2\n")?;
    assert_eq!(place.samples(NOW, &[])?.table.rows(), 2);
    assert!(place.outcome()?["warnings"].to_string().contains("1 rows of `"));
    Ok(())
}

/// Rows of a table: time and values.
type Rows = Vec<(String, Vec<f64>)>;

/// Collects a CSV file; returns the rows, and all warnings in one line.
fn csv(table: &str, bytes: &[u8]) -> Result<(Rows, String)> {
    let place = Place::new(&document(&format!("path: t.csv, {table}")))?;
    place.file("t.csv", bytes)?;
    let samples = place.samples(NOW, &[])?;
    let found = rows(&samples).into_iter().map(|(time, _, values)| (time, values)).collect();
    Ok((found, place.outcome()?["warnings"].to_string()))
}

#[test]
fn tables_of_spreadsheets_and_data_sets_are_read_as_they_are() -> Result<()> {
    let utf16: Vec<u8> = "\u{feff}t\tcpü\r\n2026-11-21T09:00:00Z\t1.5\r\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let cases: Vec<(&str, Vec<u8>, Vec<f64>)> = vec![
        // CICFlowMeter: a header with spaces and a duplicate name.
        (
            "time: Timestamp, time_format: '%d/%m/%Y %H:%M', time_zone: UTC, label: Label",
            b" Timestamp, Fwd Length, Fwd Length, Label\n21/11/2026 9:00,1.5,7,BENIGN\n".to_vec(),
            vec![1.5, 7.0],
        ),
        // Excel, with a decimal comma.
        (
            "time: t, decimal: ','",
            b"sep=;\r\nt;cpu\r\n2026-11-21T09:00:00Z;1,5\r\n".to_vec(),
            vec![1.5],
        ),
        ("time: t, decimal: ','", b"t,cpu\n2026-11-21T09:00:00Z,\"1,5\"\n".to_vec(), vec![1.5]),
        ("time: t, encoding: utf-16", utf16, vec![1.5]),
        ("time: t, encoding: latin-1", b"t,cp\xfc\n2026-11-21T09:00:00Z,1.5\n".to_vec(), vec![1.5]),
        // pandas: a time without a zone.
        (
            "time: t, time_zone: Europe/Brussels",
            b"t,cpu\n2026-11-21 10:00:00,1.5\n".to_vec(),
            vec![1.5],
        ),
        // Grafana: milliseconds, and a text for a gap.
        (
            "time: Time",
            b"\"Time\",\"cpu\",\"mem\"\n1795251600000,1.5,undefined\n1795251660000,2,3\n".to_vec(),
            vec![1.5, f64::NAN],
        ),
    ];
    for (table, bytes, expected) in cases {
        let (found, _) = csv(table, &bytes)?;
        assert_eq!(found[0].0, "2026-11-21T09:00:00Z", "{table}");
        let alike = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        assert_eq!(found[0].1.len(), expected.len(), "{table}");
        assert!(found[0].1.iter().zip(&expected).all(alike), "{table}: {:?}", found[0].1);
    }
    Ok(())
}

#[test]
fn bad_cells_are_missing_values_that_are_named_and_bounded() -> Result<()> {
    use std::fmt::Write as _;
    let mut text = String::from("t,cpu,note\n");
    for row in 0..200 {
        let cpu = if row == 7 { "7?".to_owned() } else { row.to_string() };
        writeln!(text, "{},{cpu},n{row}", 1_795_251_600 + 60 * row - 60 * 200)?;
    }
    let (found, warnings) = csv("time: t", text.as_bytes())?;
    assert_eq!((found.len(), found[0].1.len()), (200, 1));
    assert!(found[7].1[0].is_nan() && !found[8].1[0].is_nan());
    assert!(warnings.contains("1 of 200 cells") && warnings.contains("t.csv:9`"), "{warnings}");
    assert!(warnings.contains("`7?`") && warnings.contains("`note` is left out"), "{warnings}");

    let place = Place::new(&document("path: t.csv, time: t, max_bad_ratio: 0.001"))?;
    place.file("t.csv", &text)?;
    let said = place.fails(NOW, &[], 3)?;
    assert!(said.contains("t.csv:9`: column `cpu`: `7?`") && said.contains("0.1 %"), "{said}");
    let commas = "t;cpu\n1795251600;1,5\n";
    let place = Place::new(&document("path: t.csv, time: t, columns: [cpu]"))?;
    place.file("t.csv", commas)?;
    let said = place.fails(NOW, &[], 3)?;
    assert!(said.contains("decimal"), "{said}");
    Ok(())
}
