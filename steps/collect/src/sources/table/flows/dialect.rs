//! The formats of flow tools: names and forms of the fields of a record.

use document::sources::flows::TableFormat;

/// Fields that are read from a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// Time of the first packet.
    Start,
    /// Time of the last packet, or of the report on the flow.
    End,
    Duration,
    Source,
    Destination,
    /// Readable name of the source, such as a pod's, and its namespace.
    SourceName,
    SourceNamespace,
    DestinationName,
    DestinationNamespace,
    SourcePort,
    DestinationPort,
    Protocol,
    Bytes,
    SentBytes,
    ReceivedBytes,
    Packets,
    SentPackets,
    ReceivedPackets,
    /// TCP flags as letters or as a number.
    Flags,
    /// A flag or its count, in formats with a field for each flag.
    Syn,
    Ack,
    /// State of the connection, as Zeek writes it.
    State,
    /// Verdict on the packet, in Cilium's form.
    Verdict,
    /// Whether the packet goes from the destination of the connection to its source.
    IsReply,
    /// Kind of the record.
    Kind,
    /// Identifies the flow across its reports.
    Id,
    IsFinal,
    Label,
}

/// A format, as one tool in one version writes it.
#[derive(Debug)]
pub(super) struct Dialect {
    pub(super) format: TableFormat,
    /// Name for messages.
    pub(super) name: &'static str,
    /// Fields that every record of the format has, each under one of several names.
    signature: &'static [&'static [&'static str]],
    fields: &'static [(Field, &'static [&'static str])],
    /// Number of seconds in one unit of a duration.
    pub(super) duration_seconds: f64,
    /// Patterns of times, besides RFC 3339 and numbers since 1970.
    pub(super) patterns: &'static [&'static str],
    pub(super) clock: Clock,
    /// Whether protocol numbers are specific to the data set: 1 is TCP, 2 is UDP.
    pub(super) has_own_protocols: bool,
    /// Whether each record is one packet, not a flow.
    pub(super) is_packets: bool,
}

/// Time zone information in times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// With a zone, or since 1970.
    Zoned,
    /// Without a zone: the document must set it.
    Local,
    /// Without a zone and on a 12-hour clock without AM and PM: hours before 8 are in the
    /// afternoon.
    LocalTwelveHours,
}

const PLAIN: Dialect = Dialect {
    format: TableFormat::Table,
    name: "",
    signature: &[],
    fields: &[],
    duration_seconds: 1.0,
    patterns: &[],
    clock: Clock::Zoned,
    has_own_protocols: false,
    is_packets: false,
};

/// How Kibana writes a time.
const KIBANA: &str = "%b %d, %Y @ %H:%M:%S%.f";

/// All formats; the first one with a matching signature is used.
pub(super) static ALL: [Dialect; 9] = [
    Dialect {
        format: TableFormat::NfdumpCsv,
        name: "nfdump CSV before 1.7.3",
        signature: &[&["ts"], &["td"], &["sa"], &["da"], &["ipkt"], &["ibyt"]],
        fields: &[
            (Field::Start, &["ts"]),
            (Field::End, &["te"]),
            (Field::Duration, &["td"]),
            (Field::Source, &["sa"]),
            (Field::Destination, &["da"]),
            (Field::SourcePort, &["sp"]),
            (Field::DestinationPort, &["dp"]),
            (Field::Protocol, &["pr"]),
            (Field::Flags, &["flg"]),
            (Field::SentPackets, &["ipkt"]),
            (Field::SentBytes, &["ibyt"]),
            (Field::ReceivedPackets, &["opkt"]),
            (Field::ReceivedBytes, &["obyt"]),
            (Field::Label, &["label"]),
        ],
        clock: Clock::Local,
        ..PLAIN
    },
    Dialect {
        format: TableFormat::NfdumpCsv,
        name: "nfdump CSV",
        signature: &[&["firstSeen"], &["srcAddr"], &["dstAddr"], &["packets"], &["bytes"]],
        fields: &[
            (Field::Start, &["firstSeen"]),
            (Field::End, &["lastSeen"]),
            (Field::Duration, &["duration"]),
            (Field::Source, &["srcAddr"]),
            (Field::Destination, &["dstAddr"]),
            (Field::SourcePort, &["srcPort"]),
            (Field::DestinationPort, &["dstPort"]),
            (Field::Protocol, &["proto"]),
            (Field::Flags, &["flags"]),
            (Field::SentPackets, &["packets"]),
            (Field::SentBytes, &["bytes"]),
            (Field::Label, &["label"]),
        ],
        clock: Clock::Local,
        ..PLAIN
    },
    Dialect {
        format: TableFormat::NfdumpJson,
        name: "nfdump JSON",
        signature: &[&["first"], &["last"], &["proto"], &["in_packets"]],
        fields: &[
            (Field::Start, &["first"]),
            (Field::End, &["last"]),
            (Field::Source, &["src4_addr", "src6_addr", "src_addr"]),
            (Field::Destination, &["dst4_addr", "dst6_addr", "dst_addr"]),
            (Field::SourcePort, &["src_port"]),
            (Field::DestinationPort, &["dst_port"]),
            (Field::Protocol, &["proto"]),
            (Field::Flags, &["tcp_flags"]),
            (Field::SentPackets, &["in_packets"]),
            (Field::SentBytes, &["in_bytes"]),
            (Field::ReceivedPackets, &["out_packets"]),
            (Field::ReceivedBytes, &["out_bytes"]),
            (Field::Label, &["label"]),
        ],
        clock: Clock::Local,
        ..PLAIN
    },
    Dialect {
        format: TableFormat::Packetbeat,
        name: "Packetbeat",
        signature: &[&["@timestamp"], &["source.ip"], &["destination.ip"]],
        fields: &[
            (Field::Start, &["event.start"]),
            (Field::End, &["@timestamp"]),
            (Field::Duration, &["event.duration"]),
            (Field::Source, &["source.ip"]),
            (Field::Destination, &["destination.ip"]),
            (Field::SourcePort, &["source.port"]),
            (Field::DestinationPort, &["destination.port"]),
            (Field::Protocol, &["network.transport"]),
            (Field::Bytes, &["network.bytes"]),
            (Field::SentBytes, &["source.bytes"]),
            (Field::ReceivedBytes, &["destination.bytes"]),
            (Field::Packets, &["network.packets"]),
            (Field::SentPackets, &["source.packets"]),
            (Field::ReceivedPackets, &["destination.packets"]),
            (Field::Id, &["flow.id"]),
            (Field::IsFinal, &["flow.final"]),
            (Field::Label, &["label"]),
        ],
        duration_seconds: 1e-9,
        patterns: &[KIBANA],
        ..PLAIN
    },
    Dialect {
        format: TableFormat::Assuremoss,
        name: "AssureMOSS",
        signature: &[&["source_source_ip"], &["source_destination_ip"], &["source_network_bytes"]],
        fields: &[
            (Field::End, &["source_@timestamp", "source_timestamp"]),
            (Field::Duration, &["source_event_duration"]),
            (Field::Source, &["source_source_ip"]),
            (Field::Destination, &["source_destination_ip"]),
            (Field::SourcePort, &["source_source_port"]),
            (Field::DestinationPort, &["source_destination_port"]),
            (Field::Protocol, &["source_network_transport"]),
            (Field::Bytes, &["source_network_bytes"]),
            (Field::Id, &["source_flow_id", "source_flow_id_encoded"]),
            (Field::IsFinal, &["source_flow_final"]),
            (Field::Label, &["label"]),
        ],
        duration_seconds: 1e-9,
        patterns: &[KIBANA],
        has_own_protocols: true,
        ..PLAIN
    },
    Dialect {
        format: TableFormat::Cicflowmeter,
        name: "CICFlowMeter of 2017",
        signature: &[&["Source IP"], &["Timestamp"], &["Flow Duration"], &["Total Fwd Packets"]],
        fields: &[
            (Field::Start, &["Timestamp"]),
            (Field::Duration, &["Flow Duration"]),
            (Field::Source, &["Source IP"]),
            (Field::Destination, &["Destination IP"]),
            (Field::SourcePort, &["Source Port"]),
            (Field::DestinationPort, &["Destination Port"]),
            (Field::Protocol, &["Protocol"]),
            (Field::SentPackets, &["Total Fwd Packets"]),
            (Field::ReceivedPackets, &["Total Backward Packets"]),
            (Field::SentBytes, &["Total Length of Fwd Packets"]),
            (Field::ReceivedBytes, &["Total Length of Bwd Packets"]),
            (Field::Syn, &["SYN Flag Count"]),
            (Field::Ack, &["ACK Flag Count"]),
            (Field::Label, &["Label"]),
        ],
        clock: Clock::LocalTwelveHours,
        ..CIC
    },
    Dialect {
        format: TableFormat::Cicflowmeter,
        name: "CICFlowMeter of 2018",
        signature: &[&["Dst Port"], &["Timestamp"], &["Flow Duration"], &["Tot Fwd Pkts"]],
        fields: &[
            (Field::Start, &["Timestamp"]),
            (Field::Duration, &["Flow Duration"]),
            (Field::Source, &["Src IP"]),
            (Field::Destination, &["Dst IP"]),
            (Field::SourcePort, &["Src Port"]),
            (Field::DestinationPort, &["Dst Port"]),
            (Field::Protocol, &["Protocol"]),
            (Field::SentPackets, &["Tot Fwd Pkts"]),
            (Field::ReceivedPackets, &["Tot Bwd Pkts"]),
            (Field::SentBytes, &["TotLen Fwd Pkts"]),
            (Field::ReceivedBytes, &["TotLen Bwd Pkts"]),
            (Field::Syn, &["SYN Flag Cnt"]),
            (Field::Ack, &["ACK Flag Cnt"]),
            (Field::Label, &["Label"]),
        ],
        ..CIC
    },
    Dialect {
        format: TableFormat::ZeekConn,
        name: "Zeek conn.log",
        signature: &[&["ts"], &["id.orig_h"], &["id.resp_h"]],
        fields: &[
            (Field::Start, &["ts"]),
            (Field::Duration, &["duration"]),
            (Field::Source, &["id.orig_h"]),
            (Field::Destination, &["id.resp_h"]),
            (Field::SourcePort, &["id.orig_p"]),
            (Field::DestinationPort, &["id.resp_p"]),
            (Field::Protocol, &["proto"]),
            (Field::SentPackets, &["orig_pkts"]),
            (Field::ReceivedPackets, &["resp_pkts"]),
            (Field::SentBytes, &["orig_ip_bytes", "orig_bytes"]),
            (Field::ReceivedBytes, &["resp_ip_bytes", "resp_bytes"]),
            (Field::State, &["conn_state"]),
            (Field::Label, &["label"]),
        ],
        ..PLAIN
    },
    Dialect {
        format: TableFormat::Hubble,
        name: "Hubble",
        signature: &[
            &["flow.IP.source", "IP.source"],
            &["flow.IP.destination", "IP.destination"],
            &["flow.time", "time"],
        ],
        fields: &[
            (Field::End, &["flow.time", "time"]),
            (Field::Source, &["flow.IP.source", "IP.source"]),
            (Field::Destination, &["flow.IP.destination", "IP.destination"]),
            (Field::SourceName, &["flow.source.pod_name", "source.pod_name"]),
            (Field::SourceNamespace, &["flow.source.namespace", "source.namespace"]),
            (Field::DestinationName, &["flow.destination.pod_name", "destination.pod_name"]),
            (Field::DestinationNamespace, &["flow.destination.namespace", "destination.namespace"]),
            (Field::SourcePort, &["flow.l4.source_port", "l4.source_port"]),
            (Field::DestinationPort, &["flow.l4.destination_port", "l4.destination_port"]),
            (Field::Protocol, &["flow.l4", "l4"]),
            (Field::Syn, &["flow.l4.flags.SYN", "l4.flags.SYN"]),
            (Field::Ack, &["flow.l4.flags.ACK", "l4.flags.ACK"]),
            (Field::Verdict, &["flow.verdict", "verdict"]),
            (Field::IsReply, &["flow.is_reply", "is_reply"]),
            (Field::Kind, &["flow.Type", "Type"]),
        ],
        is_packets: true,
        ..PLAIN
    },
];

const CIC: Dialect = Dialect {
    format: TableFormat::Cicflowmeter,
    duration_seconds: 1e-6,
    patterns: &["%d/%m/%Y %I:%M:%S %p", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M"],
    clock: Clock::Local,
    ..PLAIN
};

impl Dialect {
    /// Finds the format of records with these fields, among those that the document allows.
    pub(super) fn find(format: TableFormat, has: &dyn Fn(&str) -> bool) -> Option<&'static Self> {
        ALL.iter().find(|dialect| {
            (format == TableFormat::Flows || format == dialect.format)
                && dialect.signature.iter().all(|names| names.iter().any(|name| has(name)))
        })
    }

    /// Returns the names of all formats, for a hint.
    pub(super) fn names() -> String {
        ALL.iter().map(|dialect| dialect.name).collect::<Vec<_>>().join(", ")
    }

    /// Returns the names that a field may have, the first choice first.
    pub(super) fn names_of(&self, field: Field) -> &'static [&'static str] {
        let found = self.fields.iter().find(|(known, _)| *known == field);
        found.map(|(_, names)| *names).unwrap_or_default()
    }

    /// Returns all fields of the format.
    pub(super) fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        self.fields.iter().map(|(field, _)| *field)
    }

    /// Returns whether the format has a field.
    pub(super) fn has(&self, field: Field) -> bool {
        self.fields().any(|known| known == field)
    }
}
