//! Published data sets of flows, with their labels.

use anyhow::Result;
use frames::Samples;

use super::{EACH_FLOW, Row, assert_value, collected_as, place, rows};

fn rows_of(samples: &Samples, source: &str) -> Vec<Row> {
    rows(samples).into_iter().filter(|row| row.entity.starts_with(source)).collect()
}

#[test]
fn cicflowmeter_of_2017_is_read_with_all_its_traps() -> Result<()> {
    let mut text = b" Flow ID, Source IP, Source Port, Destination IP, Destination Port, Protocol, Timestamp, Flow Duration, Total Fwd Packets, Total Backward Packets,Total Length of Fwd Packets, Total Length of Bwd Packets, Fwd Header Length,Flow Bytes/s, Flow Packets/s, SYN Flag Count, ACK Flag Count, Fwd Header Length, Label\n\
        x,192.168.10.5,40000,192.168.10.50,80,6,21/11/2026 9:26,78000,4,1,360,40,80,5128,Infinity,0,1,80,BENIGN\n\
        x,172.16.0.1,52110,192.168.10.50,80,6,21/11/2026 1:26,0,2,0,12,0,64,NaN,Infinity,1,0,64,Web Attack ".to_vec();
    text.extend([0x96, b' ', b'X', b'S', b'S', b'\n']);
    text.extend(b"x,172.16.0.1,52111,192.168.10.50,80,6,20/11/2026 2:26:30,-1,2,0,12,0,64,,,1,0,64,BENIGN\n,,,,,,,,,,,,,,,,,,\n");
    let (rows, outcome) = collected_as("cicflowmeter", EACH_FLOW, &text)?;
    assert_eq!(rows.len(), 1, "1:26 is the afternoon, which is after the range");
    assert_eq!((rows[0].time.as_str(), rows[0].label.as_str()), ("2026-11-21T09:27:00Z", "BENIGN"));
    for (column, expected) in [("sent_bytes", 360.0), ("bytes", 400.0), ("duration_seconds", 0.078)]
    {
        assert_value(&rows[0], column, expected);
    }
    let counts = &outcome["counts"];
    assert_eq!((&counts["bad_rows"], &counts["empty_rows"]), (&1.into(), &1.into()));
    assert_eq!(counts["flows_outside_range"], 1);

    let place = place(EACH_FLOW, &text)?;
    let samples = place.samples("2026-11-21T14:00:00Z", &[])?;
    let attack = rows_of(&samples, "172.16.0.1");
    assert_eq!(attack.len(), 1);
    assert_eq!(attack[0].label, "Web Attack \u{2013} XSS");
    assert_eq!(attack[0].time, "2026-11-21T13:26:00Z");
    assert_value(&attack[0], "syn_only", 1.0);
    assert!(attack[0].value("bytes_per_second").is_nan(), "no rate without a duration");
    Ok(())
}

#[test]
fn cicflowmeter_of_2018_skips_headers_between_rows_and_needs_no_addresses() -> Result<()> {
    let header = "Dst Port,Protocol,Timestamp,Flow Duration,Tot Fwd Pkts,Tot Bwd Pkts,TotLen Fwd Pkts,TotLen Bwd Pkts,Flow Byts/s,Flow Pkts/s,SYN Flag Cnt,ACK Flag Cnt,Label\n";
    let text = format!(
        "{header}22,6,21/11/2026 08:26:11,78000,4,4,360,100,Infinity,NaN,0,1,Benign\n{header}\
         22,6,21/11/2026 08:26:12,1000000,40,40,3600,100,1,1,0,1,SSH-Bruteforce\n"
    );
    let (rows, outcome) = collected_as("cicflowmeter", "format: flows, time_zone: UTC", &text)?;
    assert_eq!(outcome["counts"]["repeated_headers"], 1);
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].entity.as_str(), rows[0].label.as_str()), ("", "SSH-Bruteforce"));
    assert_eq!(rows[0].time, "2026-11-21T08:27:00Z", "morning stays morning where hours are of 24");
    assert_value(&rows[0], "flows_per_second", 2.0 / 60.0);
    Ok(())
}

#[test]
fn assuremoss_raw_and_encoded_rows_give_the_same_figures() -> Result<()> {
    let raw = "_source_flow_id,_source_flow_final,_source_source_ip,_source_destination_ip,_source_network_bytes,_source_network_transport,_source_@timestamp,_source_event_duration,_source_destination_port,_source_source_port,label\n\
        EQQA,True,10.0.0.5,10.0.0.10,421,tcp,\"Nov 21, 2026 @ 09:26:10.013\",126359,8500.0,43226.0,benign\n\
        EQQB,True,10.0.0.5,10.0.0.11,224,udp,\"Nov 21, 2026 @ 09:26:10.013\",37852,53.0,64371.0,malicious\n";
    let encoded = "source_flow_id_encoded,source_flow_final,source_source_ip,source_destination_ip,source_network_bytes,source_network_transport,source_timestamp,source_event_duration,source_destination_port,source_source_port,label\n\
        1,1,167772165,167772170,421,1,1795253170013,126359,8500.0,43226.0,benign\n\
        2,1,167772165,167772171,224,2,1795253170013,37852,53.0,64371.0,malicious\n";
    for text in [raw, encoded] {
        let settings = "format: flows, time_zone: UTC, flows: {cluster: [10.0.0.0/8]}";
        let (rows, _) = collected_as("assuremoss", settings, text)?;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].label, "malicious");
        for (column, expected) in [
            ("bytes_per_flow", 322.5),
            ("udp_ratio", 0.5),
            ("destinations", 2.0),
            ("destination_port_entropy_bits", 1.0),
            ("out_of_cluster_ratio", 0.0),
            ("duration_max_seconds", 0.000_126_359),
        ] {
            assert_value(&rows[0], column, expected);
        }
        let absent = ["sent_bytes_per_second", "syn_only_ratio", "bytes_per_packet"];
        assert!(absent.iter().all(|column| !rows[0].values.contains_key(*column)));
    }
    Ok(())
}
