//! `collect` from tables of flows, in each supported format of a flow tool.

#[path = "../support/mod.rs"]
mod support;

mod datasets;

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::{Context as _, Result};
use frames::Samples;
use support::Place;

const NOW: &str = "2026-11-21T10:00:00Z";

/// A row of the samples: time, entity, label, values by column.
#[derive(Debug)]
struct Row {
    time: String,
    entity: String,
    label: String,
    values: BTreeMap<String, f64>,
}

impl Row {
    fn value(&self, column: &str) -> f64 {
        self.values.get(column).copied().unwrap_or(f64::NAN)
    }
}

fn place(settings: &str, bytes: impl AsRef<[u8]>) -> Result<Place> {
    let table = format!("path: flows.log, {settings}");
    let place =
        Place::new(&format!("step: 1m\nrange: 1d\nsources: {{main: {{table: {{{table}}}}}}}"))?;
    place.file("flows.log", bytes)?;
    Ok(place)
}

fn rows(samples: &Samples) -> Vec<Row> {
    let table = &samples.table;
    let row = |row: usize| Row {
        time: table.times[row].to_string(),
        entity: table.entity_of(row).to_owned(),
        label: samples.labels.as_ref().map(|labels| labels[row].clone()).unwrap_or_default(),
        values: table.columns.iter().map(|it| (it.name.clone(), it.values[row])).collect(),
    };
    (0..table.rows()).map(row).collect()
}

fn collected(settings: &str, bytes: impl AsRef<[u8]>) -> Result<(Vec<Row>, serde_json::Value)> {
    let place = place(settings, bytes)?;
    let samples = place.samples(NOW, &[])?;
    Ok((rows(&samples), place.outcome()?))
}

/// Collects a file whose format is detected, and again with the format named, which must give the same.
fn collected_as(
    format: &str,
    settings: &str,
    bytes: impl AsRef<[u8]>,
) -> Result<(Vec<Row>, serde_json::Value)> {
    let named = settings.replacen("format: flows", &format!("format: {format}"), 1);
    let (named, _) = collected(&named, &bytes)?;
    let (detected, outcome) = collected(settings, &bytes)?;
    assert_eq!(format!("{named:?}"), format!("{detected:?}"), "{format}");
    Ok((detected, outcome))
}

const EACH_FLOW: &str = "format: flows, time_zone: UTC, flows: {rows: flow}";

fn assert_value(row: &Row, column: &str, expected: f64) {
    let found = row.value(column);
    assert!((found - expected).abs() < 1e-9, "{} {column}: {found}, not {expected}", row.entity);
}

/// A flow of 360 bytes in 4 packets and 78 ms, from 10.0.0.5:40000 to 10.0.0.10:443.
fn assert_web_flow(row: &Row, what: &str) {
    assert_eq!(row.entity, "10.0.0.5:40000>10.0.0.10:443/tcp", "{what}");
    assert_eq!(row.time, "2026-11-21T09:27:00Z", "{what}");
    for (column, expected) in [
        ("sent_bytes", 360.0),
        ("sent_packets", 4.0),
        ("duration_seconds", 0.078),
        ("bytes_per_packet", 90.0),
        ("source_port", 40_000.0),
        ("destination_port", 443.0),
        ("tcp", 1.0),
        ("udp", 0.0),
        ("syn_only", 0.0),
        ("source_flows_per_second", 1.0 / 60.0),
    ] {
        assert_value(row, column, expected);
    }
}

const NFDUMP_OLD: &str = "ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt,in,out\n\
    2026-11-21 09:26:11,2026-11-21 09:26:11,0.078,10.0.0.5,10.0.0.10,40000,443,TCP,...AP.SF,0,0,4,360,0,0,0,0\n\
    2026-11-21 09:26:12,2026-11-21 09:26:12,0.000,10.0.0.7,10.0.0.10,0,2048,ICMP,........,0,0,1,84,0,0,0,0\n\
    Summary\nflows,bytes,packets,avg_bps,avg_pps,avg_bpp\n2,444,5,3552,5,88\n";

const NFDUMP_NEW: &str = "firstSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,packets,bytes,flows\n\
    2026-11-21 09:26:11.100,0.078,TCP,10.0.0.5,40000,10.0.0.10,443,4,360,1\n\
    2026-11-21 09:26:12.000,0.000,ICMP,10.0.0.7,0,10.0.0.10,2048,1,84,1\n";

const NFDUMP_FAST: &str = "cnt,af,firstSeen,lastSeen,proto,srcAddr,srcPort,dstAddr,dstPort,srcAS,dstAS,input,output,flags,srcTos,packets,bytes\n\
    1,2,2026-11-21 09:26:11.100,2026-11-21 09:26:11.178,6,10.0.0.5,40000,10.0.0.10,443,0,0,0,0,27,0,4,360\n\
    2,2,2026-11-21 09:26:12.000,2026-11-21 09:26:12.000,1,10.0.0.7,0,10.0.0.10,2048,0,0,0,0,0,0,1,84\n";

const NFDUMP_NDJSON: &str = r#"{"type":"FLOW","sampled":0,"first":"2026-11-21T09:26:11.100","last":"2026-11-21T09:26:11.178","received":"2026-11-21T09:26:36.284","in_packets":4,"in_bytes":360,"proto":6,"tcp_flags":"...AP.SF","src_port":40000,"dst_port":443,"src4_addr":"10.0.0.5","dst4_addr":"10.0.0.10","label":"<none>"}
{"type":"FLOW","sampled":0,"first":"2026-11-21T09:26:12.000","last":"2026-11-21T09:26:12.000","in_packets":1,"in_bytes":84,"proto":1,"icmp_type":8,"icmp_code":0,"src4_addr":"10.0.0.7","dst4_addr":"10.0.0.10","label":"<none>"}
"#;

#[test]
fn nfdump_file_in_any_dialect_gives_the_same_flows() -> Result<()> {
    let array = format!("[\n{}]\n", NFDUMP_NDJSON.trim_end().replace('\n', ",\n"));
    let pretty = array.replace(",\"", ",\n\t\"").replace('{', "{\n\t").replace('}', "\n}");
    for (what, text) in [
        ("old", NFDUMP_OLD),
        ("new", NFDUMP_NEW),
        ("fast", NFDUMP_FAST),
        ("ndjson", NFDUMP_NDJSON),
        ("json", &array),
        ("pretty json", &pretty),
    ] {
        let format = if what.contains("json") { "nfdump_json" } else { "nfdump_csv" };
        let (rows, outcome) = collected_as(format, EACH_FLOW, text).context(what)?;
        assert_eq!(rows.len(), 2, "{what}");
        if what == "new" {
            // This dialect has no flags.
            let mut row =
                Row { values: rows[0].values.clone(), ..collected(EACH_FLOW, text)?.0.remove(0) };
            assert!(row.value("syn_only").is_nan());
            row.values.insert("syn_only".to_owned(), 0.0);
            assert_web_flow(&row, what);
        } else {
            assert_web_flow(&rows[0], what);
        }
        assert_eq!(rows[1].entity, "10.0.0.7>10.0.0.10/icmp", "{what}");
        assert_value(&rows[1], "icmp", 1.0);
        assert!(rows[1].value("destination_port").is_nan(), "type and code of ICMP are no port");
        assert_eq!(outcome["counts"]["bad_rows"], 0, "{what}");
    }
    Ok(())
}

#[test]
fn nfdump_file_without_flows_is_no_error_in_a_tick_and_refused_in_a_training() -> Result<()> {
    let header = NFDUMP_OLD.lines().next().unwrap_or_default();
    let csv = format!("{header}\nNo matching flows\nSummary\nflows,bytes\n0,0\n");
    for (format, text) in [
        ("format: nfdump_csv, time_zone: UTC", csv.as_str()),
        ("format: nfdump_json, time_zone: UTC", "[\nNo matching flows\n]\n"),
    ] {
        let place = place(format, text)?;
        let said = place.fails(NOW, &[], 3)?;
        assert!(said.contains("has no flow"), "{said}");
        let store = format!("file://{}", place.path("store").display());
        assert_eq!(place.samples(NOW, &["--store", &store])?.table.rows(), 0);
    }
    Ok(())
}

#[test]
fn nfdump_duration_that_underflowed_is_a_bad_row() -> Result<()> {
    let text = NFDUMP_OLD.replacen("0.078", "18446744073709552.000", 1);
    let (rows, outcome) = collected(EACH_FLOW, &text)?;
    assert_eq!((rows.len(), &outcome["counts"]["bad_rows"]), (1, &1.into()));
    let warnings = outcome["warnings"].to_string();
    assert!(warnings.contains("line 2: a duration of 1.84467440737095"), "{warnings}");
    Ok(())
}

#[test]
fn packetbeat_interim_reports_count_the_increase() -> Result<()> {
    let text = "@timestamp,flow.id,flow.final,source.ip,source.port,destination.ip,destination.port,network.transport,source.bytes,destination.bytes,source.packets,destination.packets,event.duration\n\
        2026-11-21T09:00:10.000Z,A,false,10.0.0.5,40000,10.0.0.10,443,tcp,100,1000,1,10,10000000000\n\
        \"Nov 21, 2026 @ 09:00:20.000\",A,false,10.0.0.5,40000,10.0.0.10,443,tcp,300,1000,3,10,20000000000\n\
        2026-11-21T09:00:30.000Z,A,true,10.0.0.5,40000,10.0.0.10,443,tcp,360,1000,4,10,30000000000\n\
        2026-11-21T09:00:30.000Z,B,true,10.0.0.6,40001,10.96.0.1,53,udp,60,200,1,1,5000000\n\
        2026-11-21T09:00:30.000Z,C,true,10.0.0.6,40001,10.0.0.53,53,udp,60,200,1,1,5000000\n";
    let settings =
        "format: flows, time_zone: UTC, flows: {services: [10.96.0.0/12], cluster: [10.0.0.0/16]}";
    let (rows, outcome) = collected_as("packetbeat", settings, text)?;
    assert_eq!(rows.len(), 2);
    for (column, expected) in [
        ("flows_per_second", 3.0 / 60.0),
        ("sent_bytes_per_second", 6.0),
        ("received_bytes_per_second", 1000.0 / 60.0),
        ("duration_mean_seconds", 10.0),
        ("destinations", 1.0),
        ("fan_out_ratio", 1.0 / 3.0),
        ("out_of_cluster_ratio", 0.0),
    ] {
        assert_value(&rows[0], column, expected);
    }
    assert_value(&rows[1], "flows_per_second", 1.0 / 60.0);
    assert_eq!(outcome["counts"]["service_flows"], 1);
    Ok(())
}

#[test]
fn packetbeat_json_lines_are_read_like_its_csv() -> Result<()> {
    let text = r#"{"@timestamp":"2026-11-21T09:26:11.178Z","event":{"duration":78000000,"dataset":"flow"},"flow":{"id":"A","final":true},"source":{"ip":"10.0.0.5","port":40000,"bytes":360,"packets":4},"destination":{"ip":"10.0.0.10","port":443,"bytes":0,"packets":0},"network":{"transport":"tcp","bytes":360,"packets":4}}"#;
    let (rows, _) = collected_as("packetbeat", EACH_FLOW, text)?;
    assert_value(&rows[0], "sent_bytes", 360.0);
    assert_value(&rows[0], "duration_seconds", 0.078);
    assert_eq!(rows[0].entity, "10.0.0.5:40000>10.0.0.10:443/tcp");
    Ok(())
}

#[test]
fn zeek_log_is_read_as_tabs_and_as_json() -> Result<()> {
    let tabs = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n\
        #fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\n\
        #types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval\tcount\tcount\tstring\tcount\tcount\tcount\tcount\n\
        1795253171.100000\tC1\t10.0.0.5\t40000\t10.0.0.10\t443\ttcp\tssl\t0.078\t152\t900\tSF\t4\t360\t3\t1320\n\
        1795253172.000000\tC2\t10.0.0.6\t40001\t10.0.0.10\t22\ttcp\t-\t-\t-\t-\tS0\t1\t60\t0\t0\n#close\t2026-11-21-10-00-00\n";
    let json = r#"{"ts":1795253171.1,"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":40000,"id.resp_h":"10.0.0.10","id.resp_p":443,"proto":"tcp","duration":0.078,"orig_bytes":152,"resp_bytes":900,"conn_state":"SF","orig_pkts":4,"orig_ip_bytes":360,"resp_pkts":3,"resp_ip_bytes":1320}
{"ts":1795253172.0,"uid":"C2","id.orig_h":"10.0.0.6","id.orig_p":40001,"id.resp_h":"10.0.0.10","id.resp_p":22,"proto":"tcp","conn_state":"S0","orig_pkts":1,"orig_ip_bytes":60,"resp_pkts":0,"resp_ip_bytes":0}
"#;
    for text in [tabs, json] {
        let (rows, _) = collected_as("zeek_conn", "format: flows, flows: {rows: flow}", text)?;
        assert_value(&rows[0], "sent_bytes", 360.0);
        assert_value(&rows[0], "received_bytes", 1320.0);
        assert_value(&rows[0], "duration_seconds", 0.078);
        assert_value(&rows[0], "failed", 0.0);
        for (column, expected) in [("syn_only", 1.0), ("failed", 1.0), ("sent_bytes", 60.0)] {
            assert_value(&rows[1], column, expected);
        }
        assert!(rows[1].value("duration_seconds").is_nan());
    }
    Ok(())
}

#[test]
fn hubble_events_become_rows_of_the_pod_that_began_the_connection() -> Result<()> {
    let event = |time: &str, fields: &str| {
        format!(
            "{{\"flow\":{{\"time\":\"{time}\",\"Type\":\"L3_L4\",{fields}}},\"node_name\":\"n\"}}\n"
        )
    };
    let pod = |name: &str| format!("{{\"namespace\":\"shop\",\"pod_name\":\"{name}\"}}");
    let (web, db) = (pod("web"), pod("db"));
    let text = [
        "{\"lost_events\":{\"source\":\"HUBBLE_RING_BUFFER\",\"num_events_lost\":\"3\"}}\n".to_owned(),
        event("2026-11-21T09:00:01Z", &format!("\"verdict\":\"FORWARDED\",\"IP\":{{\"source\":\"10.0.0.5\",\"destination\":\"10.0.0.10\"}},\"l4\":{{\"TCP\":{{\"source_port\":40000,\"destination_port\":5432,\"flags\":{{\"SYN\":true}}}}}},\"source\":{web},\"destination\":{db},\"is_reply\":false")),
        event("2026-11-21T09:00:02Z", &format!("\"verdict\":\"FORWARDED\",\"IP\":{{\"source\":\"10.0.0.10\",\"destination\":\"10.0.0.5\"}},\"l4\":{{\"TCP\":{{\"source_port\":5432,\"destination_port\":40000,\"flags\":{{\"SYN\":true,\"ACK\":true}}}}}},\"source\":{db},\"destination\":{web},\"is_reply\":true")),
        event("2026-11-21T09:00:03Z", &format!("\"verdict\":\"DROPPED\",\"IP\":{{\"source\":\"10.0.0.5\",\"destination\":\"1.1.1.1\"}},\"l4\":{{\"UDP\":{{\"source_port\":40000,\"destination_port\":53}}}},\"source\":{web}")),
    ]
    .concat();
    let settings = "format: flows, flows: {cluster: [10.0.0.0/8]}";
    let (rows, outcome) = collected_as("hubble", settings, &text)?;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].entity, "shop/web");
    for (column, expected) in [
        ("flows_per_second", 3.0 / 60.0),
        ("syn_only_ratio", 0.5),
        ("failed_ratio", 1.0 / 3.0),
        ("out_of_cluster_ratio", 1.0 / 3.0),
        ("sent_packets_per_second", 2.0 / 60.0),
        ("received_packets_per_second", 1.0 / 60.0),
        ("destination_port_entropy_bits", 0.918_295_834_054_489_6),
    ] {
        assert_value(&rows[0], column, expected);
    }
    assert!(!rows[0].values.contains_key("sent_bytes_per_second"), "Hubble counts no bytes");
    assert_eq!(outcome["counts"]["other_records"], 1);
    Ok(())
}

#[test]
fn unreadable_rows_are_counted_sampled_and_bounded() -> Result<()> {
    let mut text = NFDUMP_NEW.to_owned();
    for _ in 0..3 {
        text.push_str("2026-11-21 09:26:11.100,0.078,TCP,10.0.0.5,99999,10.0.0.10,443,4,360,1\n");
    }
    text.push_str("2026-11-21 09:26:11.100,0.078\n");
    let settings = |most: u32| {
        format!("format: flows, time_zone: UTC, flows: {{rows: flow, max_bad_rows: {most}}}")
    };
    let (rows, outcome) = collected(&settings(4), &text)?;
    assert_eq!((rows.len(), &outcome["counts"]["bad_rows"]), (2, &4.into()));
    let warnings = outcome["warnings"].to_string();
    assert!(warnings.contains("line 4: `99999.0` is not a port"), "{warnings}");
    let said = place(&settings(3), &text)?.fails(NOW, &[], 3)?;
    assert!(
        said.contains("more than 3 unreadable records") && said.contains("max_bad_rows"),
        "{said}"
    );
    assert!(said.contains("line 7: 2 cells, not 10"), "{said}");
    let broken = format!("{NFDUMP_NDJSON}{{\"first\": \n");
    let said = place(&settings(0), broken)?.fails(NOW, &[], 3)?;
    assert!(said.contains("line 3") && said.contains("is not JSON"), "{said}");
    Ok(())
}

#[test]
fn file_without_flow_format_is_refused_with_its_fields() -> Result<()> {
    for (settings, text, part, code) in [
        (EACH_FLOW, "a,b\n1,2\n", "the file has the fields: a, b", 3),
        ("format: zeek_conn", NFDUMP_NEW, "does not have the flow format", 3),
        ("format: flows", NFDUMP_NEW, "table.time_zone", 2),
        (EACH_FLOW, "", "is empty", 3),
        ("format: flows, time: t", NFDUMP_NEW, "must not be set with a flow format", 2),
        ("format: flows, flows: {cluster: [x]}", NFDUMP_NEW, "not a CIDR block", 2),
        (
            "path: x, start: '2026-01-01T00:00:00Z', flows: {sampling: 2}",
            "",
            "works only with a flow format",
            2,
        ),
        ("format: flows, label: x, time_zone: UTC", NFDUMP_NEW, "has no column `x`", 3),
    ] {
        let settings = settings.strip_prefix("path: x, ").unwrap_or(settings);
        let said = place(settings, text)?.fails(NOW, &[], code)?;
        assert!(said.contains(part), "{said}");
    }
    Ok(())
}

#[test]
fn flows_in_any_order_packed_or_not_give_the_same_bytes() -> Result<()> {
    let mut lines: Vec<&str> = NFDUMP_NEW.lines().collect();
    lines.swap(1, 2);
    let swapped = lines.join("\r\n");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(NFDUMP_NEW.as_bytes())?;
    let mut written = Vec::new();
    for bytes in [NFDUMP_NEW.as_bytes().to_vec(), packed.finish()?, swapped.into_bytes()] {
        let place = place("format: flows, time_zone: UTC", bytes)?;
        let mut rows = rows(&place.samples(NOW, &[])?);
        rows.sort_by(|a, b| a.entity.cmp(&b.entity));
        let rows: Vec<String> =
            rows.iter().map(|row| format!("{}{:?}", row.entity, row.values)).collect();
        written.push(rows);
    }
    assert_eq!(written[0], written[1]);
    assert_eq!(written[0], written[2]);
    Ok(())
}
