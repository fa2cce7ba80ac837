//! Flux, as 2.x accepts it at `/api/v2/query`, and its replies: annotated CSV.

use std::collections::BTreeMap;

use contract::{TimeRange, Timestamp};
use csv::{ReaderBuilder, StringRecord};

use super::question::Rows;
use super::reply::{Cell, Series, Wrong};

/// Columns that are not tags, though their values are texts.
const OWN: [&str; 3] = ["result", "table", ""];

/// Returns the text of rows of a measurement, a table for each field and set of tags.
pub(super) fn rows(bucket: &str, rows: &Rows<'_>) -> String {
    let TimeRange { after, until } = rows.range;
    let is_field = rows.fields.iter().map(|field| format!("r._field == {}", string(field)));
    let is_field = is_field.collect::<Vec<String>>().join(" or ");
    // A range of Flux has its start, but not its end.
    let [start, stop] = [after, until].map(|time| Timestamp::from_ms(time.ms() + 1));
    let group: Vec<String> = rows.tags.iter().map(|tag| string(tag)).collect();
    let group = group.join(", ");
    let conditions = rows.conditions(|tag, text| format!("r[{}] == {}", string(tag), string(text)));
    let selected = match conditions.as_slice() {
        [] => String::new(),
        conditions => format!("\n  |> filter(fn: (r) => {})", conditions.join(" or ")),
    };
    format!(
        "from(bucket: {})\n  |> range(start: {start}, stop: {stop})\n  |> filter(fn: (r) => r._measurement == {} and ({is_field})){selected}\n  |> keep(columns: [\"_time\", \"_field\", \"_value\", {group}])\n  |> group(columns: [\"_field\", {group}])\n  |> sort(columns: [\"_time\"])",
        string(bucket),
        string(rows.measurement),
    )
}

/// Asks for the measurements of a bucket.
pub(super) fn measurements(bucket: &str) -> String {
    format!(
        "import \"influxdata/influxdb/schema\"\nschema.measurements(bucket: {})",
        string(bucket)
    )
}

/// Asks for the fields of a measurement.
pub(super) fn fields(bucket: &str, measurement: &str) -> String {
    format!(
        "import \"influxdata/influxdb/schema\"\nschema.measurementFieldKeys(bucket: {}, measurement: {}, start: 0)",
        string(bucket),
        string(measurement)
    )
}

/// Asks for the oldest or the newest row of a measurement.
pub(super) fn end(bucket: &str, measurement: &str, is_newest: bool) -> String {
    format!(
        "from(bucket: {})\n  |> range(start: 0)\n  |> filter(fn: (r) => r._measurement == {})\n  |> keep(columns: [\"_time\"])\n  |> group()\n  |> sort(columns: [\"_time\"], desc: {is_newest})\n  |> limit(n: 1)",
        string(bucket),
        string(measurement)
    )
}

/// Asks how long a bucket keeps its rows.
pub(super) fn retention(bucket: &str) -> String {
    format!("buckets()\n  |> filter(fn: (r) => r.name == {})", string(bucket))
}

/// Writes a text of Flux: `${` would begin an expression.
fn string(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "\\${");
    format!("\"{text}\"")
}

/// A table's columns, from its annotations and its header.
#[derive(Debug, Default)]
struct Head {
    names: Vec<String>,
    types: Vec<String>,
    defaults: Vec<String>,
    /// True while annotations are read: a header follows.
    is_open: bool,
}

impl Head {
    /// Returns the cell of a column; `None` if it has no value.
    fn cell(&self, row: &StringRecord, at: usize) -> Result<Option<Cell>, Wrong> {
        let text = row.get(at).unwrap_or_default();
        let default = self.defaults.get(at).map(String::as_str).unwrap_or_default();
        let text = if text.is_empty() { default } else { text };
        if text.is_empty() {
            return Ok(None);
        }
        let broken = || Wrong::Broken(format!("`{text}` is no {}", self.kind(at)));
        Ok(Some(match self.kind(at) {
            "double" | "long" | "unsignedLong" => Cell::Number(text.parse().map_err(|_| broken())?),
            "boolean" => Cell::Flag(text == "true"),
            kind if kind.starts_with("dateTime") => {
                Cell::Number(milliseconds(text).ok_or_else(broken)?)
            }
            _ => Cell::Text(text.to_owned()),
        }))
    }

    fn kind(&self, at: usize) -> &str {
        self.types.get(at).map(String::as_str).unwrap_or_default()
    }

    fn at(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }
}

/// Returns a time in milliseconds.
pub(super) fn milliseconds(text: &str) -> Option<f64> {
    let time = text.parse::<jiff::Timestamp>().ok();
    // 3.x writes times without a zone, which are UTC.
    let time = time.or_else(|| format!("{text}Z").parse().ok())?;
    Some(time.as_millisecond() as f64)
}

/// Reads a body of annotated CSV; passes each run of rows of a table to `take`.
pub(super) fn read(body: &[u8], take: &mut dyn FnMut(Series)) -> Result<(), Wrong> {
    if body.trim_ascii_start().starts_with(b"<") {
        return Err(Wrong::WebPage);
    }
    if !body.is_empty() && !body.ends_with(b"\n") {
        return Err(Wrong::Broken("the reply ends within a row".to_owned()));
    }
    let mut rows = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(body);
    let (mut head, mut run) = (Head::default(), None::<Series>);
    let mut row = StringRecord::new();
    loop {
        let more = rows.read_record(&mut row);
        if !more.map_err(|error| Wrong::Broken(format!("the reply is not CSV: {error}")))? {
            break;
        }
        let cells = || row.iter().map(str::to_owned).collect::<Vec<String>>();
        match row.get(0).unwrap_or_default() {
            "#datatype" => head = Head { types: cells(), is_open: true, ..head },
            "#group" => head.is_open = true,
            "#default" => head = Head { defaults: cells(), is_open: true, ..head },
            _ if head.is_open || is_error(&row) => {
                head = Head { names: cells(), is_open: false, ..head };
            }
            _ if head.at("error").is_some() && head.at("reference").is_some() => {
                let text = head.at("error").and_then(|at| row.get(at)).unwrap_or_default();
                return Err(Wrong::Said(text.to_owned()));
            }
            _ => add(&head, &row, &mut run, take)?,
        }
    }
    run.into_iter().for_each(take);
    Ok(())
}

/// Returns whether a row is the header of a table of errors, which may have no annotations.
fn is_error(row: &StringRecord) -> bool {
    let names: Vec<&str> = row.iter().filter(|name| !name.is_empty()).collect();
    names == ["error", "reference"]
}

/// Adds a row to the run of rows of its table, or starts another run.
fn add(
    head: &Head,
    row: &StringRecord,
    run: &mut Option<Series>,
    take: &mut dyn FnMut(Series),
) -> Result<(), Wrong> {
    let is_tag = |at: usize| {
        let name = head.names[at].as_str();
        head.kind(at) == "string" && !name.starts_with('_') && !OWN.contains(&name)
    };
    let field = head.at("_field").and_then(|at| row.get(at));
    let mut tags = BTreeMap::new();
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    let time = head.at("_time");
    for at in time.into_iter().chain((0..head.names.len()).filter(|at| Some(*at) != time)) {
        let name = head.names[at].as_str();
        let cell = head.cell(row, at)?;
        match (name, field) {
            ("_time", _) => columns.push("time".to_owned()),
            ("_value", Some(field)) => columns.push(field.to_owned()),
            // Rows of measurements have tags; lists of names have columns.
            (_, Some(_)) => {
                if let (true, Some(Cell::Text(text))) = (is_tag(at), cell) {
                    tags.insert(name.to_owned(), text);
                }
                continue;
            }
            (name, None) if OWN.contains(&name) => continue,
            (name, None) => columns.push(name.to_owned()),
        }
        values.push(cell);
    }
    Series::extend(run, Series::new(tags, columns, vec![values]), take);
    Ok(())
}

#[cfg(test)]
mod tests {
    use document::shards::Selection;

    use super::*;

    fn all(body: &str) -> Result<Vec<Series>, Wrong> {
        let mut all = Vec::new();
        read(body.replace('\n', "\r\n").as_bytes(), &mut |series| all.push(series))?;
        Ok(all)
    }

    const TABLES: &str = "#group,false,false,false,true,true,false
#datatype,string,long,dateTime:RFC3339,string,string,double
#default,_result,,,,,
,result,table,_time,_field,pod,_value
,,0,2026-11-21T08:55:10Z,x,\"p,1\",1.5
,,0,2026-11-21T08:55:20.5Z,x,\"p,1\",
,,1,2026-11-21T08:55:10Z,x,p2,7

#datatype,string,long,dateTime:RFC3339,string,string,long
#group,false,false,false,true,true,false
#default,_result,,,,,
,result,table,_time,_value,_field,pod
";

    #[test]
    fn a_query_quotes_names_and_has_the_end_of_its_range() {
        let fields = ["a".to_owned(), "b".to_owned()];
        let tags = ["pod".to_owned()];
        let time = |ms: i64| Timestamp::from_ms(1_795_251_600_000 + ms);
        let range = TimeRange { after: time(-10_000), until: time(0) };
        let query =
            Rows { measurement: "m${y}", fields: &fields, tags: &tags, range, selection: None };
        let text = rows("b\"x", &query);
        assert_eq!(
            text,
            "from(bucket: \"b\\\"x\")
  |> range(start: 2026-11-21T08:59:50.001Z, stop: 2026-11-21T09:00:00.001Z)
  |> filter(fn: (r) => r._measurement == \"m\\${y}\" and (r._field == \"a\" or r._field == \"b\"))
  |> keep(columns: [\"_time\", \"_field\", \"_value\", \"pod\"])
  |> group(columns: [\"_field\", \"pod\"])
  |> sort(columns: [\"_time\"])"
        );
        let values = ["it's".to_owned(), "b\"".to_owned()].to_vec();
        let selection = Selection { label: "zone".to_owned(), values };
        let text = rows("b", &Rows { selection: Some(&selection), ..query });
        let filter = r#"|> filter(fn: (r) => r["zone"] == "it's" or r["zone"] == "b\"")"#;
        assert!(text.contains(filter), "{text}");
    }

    #[test]
    fn tables_of_annotated_csv_are_series_of_their_tags() {
        let series = all(TABLES).unwrap();
        assert_eq!(series.len(), 2);
        assert_eq!(series[0].tags["pod"], "p,1");
        assert_eq!(series[0].columns, ["time", "x"]);
        let number = |value| Some(Cell::Number(value));
        assert_eq!(
            series[0].values,
            [
                vec![number(1_795_251_310_000.0), number(1.5)],
                vec![number(1_795_251_320_500.0), None]
            ]
        );
        assert_eq!((series[1].tags["pod"].as_str(), series[1].values.len()), ("p2", 1));
    }

    #[test]
    fn a_list_of_names_has_columns_and_no_tags() {
        let body = "#datatype,string,long,string\n#group,false,false,false\n#default,_result,,\n,result,table,_value\n,,0,cpu\n,,0,mem\n";
        let series = all(body).unwrap();
        assert_eq!(
            (series.len(), series[0].columns.as_slice()),
            (1, ["_value".to_owned()].as_slice())
        );
        assert_eq!(series[0].values[1], [Some(Cell::Text("mem".to_owned()))]);
    }

    #[test]
    fn an_error_behind_good_tables_a_cut_and_a_web_page_are_seen() {
        let error = "#datatype,string,string\n#group,true,true\n#default,,\n,error,reference\n,\"out of memory: 5,000\",897\n";
        for body in [
            format!("{TABLES}\n{error}"),
            "\n,error,reference\n,\"out of memory: 5,000\",\n".to_owned(),
        ] {
            assert_eq!(all(&body), Err(Wrong::Said("out of memory: 5,000".to_owned())), "{body}");
        }
        let cut = TABLES.trim_end().split_at(300).0;
        assert!(matches!(all(cut), Err(Wrong::Broken(_))));
        assert_eq!(all("<html>\n"), Err(Wrong::WebPage));
        assert_eq!(all(""), Ok(Vec::new()));
    }
}
