//! One flow, and its parsing from a record.

use std::net::{IpAddr, Ipv4Addr};

use contract::Timestamp;

use super::dialect::{Clock, Dialect, Field};
use crate::sources::table::cells::{Cells, shown};

/// Longest valid duration: a year. Exporters with a wrong clock write longer ones.
const LONGEST_SECONDS: f64 = 366.0 * 86_400.0;
/// Difference between an afternoon time and the same time on the clock in the morning.
const HALF_DAY_MS: i64 = 12 * 3_600_000;

/// Returns the text of a field of a record.
pub(super) type Get<'a> = dyn Fn(Field) -> Option<&'a str> + 'a;

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
    Icmp,
    Other,
}

/// A connection, or the part of one that a record describes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Flow {
    /// When it ended, or was reported: only then are all its values known.
    pub(super) end: Timestamp,
    pub(super) duration_seconds: Option<f64>,
    pub(super) source: String,
    pub(super) destination: String,
    /// Readable name of the source, if the record has one.
    pub(super) source_name: Option<String>,
    pub(super) source_port: Option<u16>,
    pub(super) destination_port: Option<u16>,
    pub(super) protocol: Protocol,
    /// Bytes in both directions; separate sent and received bytes if the record has them.
    pub(super) bytes: Option<f64>,
    pub(super) sent_bytes: Option<f64>,
    pub(super) received_bytes: Option<f64>,
    pub(super) packets: Option<f64>,
    pub(super) sent_packets: Option<f64>,
    pub(super) received_packets: Option<f64>,
    /// TCP with SYN and without ACK.
    pub(super) is_syn_only: Option<bool>,
    /// Whether it was refused, dropped, or without a reply.
    pub(super) is_failed: Option<bool>,
    /// Identifies the flow across its reports; `None` if each flow has one record.
    pub(super) id: Option<String>,
    pub(super) label: String,
}

impl Flow {
    /// Returns the entity of rows about sources.
    pub(super) fn entity(&self) -> &str {
        self.source_name.as_deref().unwrap_or(&self.source)
    }
}

/// Makes flows of records.
pub(super) struct Maker<'a> {
    pub(super) dialect: &'static Dialect,
    pub(super) cells: &'a Cells,
    /// Whether the document sets the format of times.
    pub(super) has_own_times: bool,
    pub(super) sampling: f64,
}

impl Maker<'_> {
    /// Makes a flow of the fields of a record; `None` for a record of another kind.
    ///
    /// Errors: the problem of the record, in a few words.
    pub(super) fn flow(&self, get: &Get<'_>) -> Result<Option<Flow>, String> {
        if get(Field::Kind).is_some_and(|kind| kind == "L7") {
            return Ok(None);
        }
        let (end, duration_seconds) = self.times(get)?;
        let address = |field, what: &str| match get(field).unwrap_or_default() {
            "" if self.dialect.signature_has(field) => Err(format!("the {what} address is empty")),
            text => Ok(text.to_owned()),
        };
        let protocol = protocol(get(Field::Protocol).unwrap_or_default(), self.dialect);
        let port = |field| match protocol {
            // For ICMP, nfdump writes type and code in the port field.
            Protocol::Icmp => Ok(None),
            Protocol::Tcp | Protocol::Udp | Protocol::Other => port(get(field)),
        };
        let count = |field| Ok::<_, String>(count(get(field))?.map(|count| count * self.sampling));
        let sum = |all: Option<f64>, sent: Option<f64>, received: Option<f64>| {
            all.or(sent.map(|sent| sent + received.unwrap_or(0.0)))
        };
        let (sent_bytes, received_bytes) = (count(Field::SentBytes)?, count(Field::ReceivedBytes)?);
        let one = self.dialect.is_packets.then_some(self.sampling);
        let sent_packets = count(Field::SentPackets)?.or(one);
        let received_packets = count(Field::ReceivedPackets)?;
        let is_reply = get(Field::IsReply).is_some_and(is_true);
        let (name, namespace) = if is_reply {
            (Field::DestinationName, Field::DestinationNamespace)
        } else {
            (Field::SourceName, Field::SourceNamespace)
        };
        let name = get(name).filter(|name| !name.is_empty());
        let namespace = get(namespace).unwrap_or_default();
        let flow = Flow {
            end,
            duration_seconds,
            source: address(Field::Source, "source")?,
            destination: address(Field::Destination, "destination")?,
            source_name: name.map(|name| format!("{namespace}/{name}")),
            source_port: port(Field::SourcePort)?,
            destination_port: port(Field::DestinationPort)?,
            protocol,
            bytes: sum(count(Field::Bytes)?, sent_bytes, received_bytes),
            sent_bytes,
            received_bytes,
            packets: sum(count(Field::Packets)?, sent_packets, received_packets),
            sent_packets,
            received_packets,
            is_syn_only: if protocol == Protocol::Tcp { syn_only(get) } else { None },
            is_failed: failed(get),
            id: get(Field::Id).map(str::to_owned),
            label: get(Field::Label).filter(|it| *it != "<none>").unwrap_or_default().to_owned(),
        };
        Ok(Some(if is_reply { reversed(flow) } else { flow }))
    }

    /// Returns when a flow ended, and how long it took.
    fn times(&self, get: &Get<'_>) -> Result<(Timestamp, Option<f64>), String> {
        let time =
            |field| get(field).filter(|it| !it.is_empty()).map(|it| self.time(it)).transpose();
        let (start, end) = (time(Field::Start)?, time(Field::End)?);
        let written = number(get(Field::Duration))?;
        let mut duration = written.map(|written| written * self.dialect.duration_seconds);
        if let (None, Some(start), Some(end)) = (duration, start, end) {
            duration = Some((end - start).seconds());
        }
        if let Some(seconds) = duration
            && !(0.0..=LONGEST_SECONDS).contains(&seconds)
        {
            return Err(format!("a duration of {seconds:?} seconds cannot be"));
        }
        let end = match (start, end) {
            (_, Some(end)) => end,
            (Some(start), None) => {
                #[expect(clippy::cast_possible_truncation, reason = "at most a year")]
                let ms = (duration.unwrap_or(0.0) * 1e3).round() as i64;
                Timestamp::from_ms(start.ms().saturating_add(ms))
            }
            (None, None) => return Err("the record has no time".to_owned()),
        };
        Ok((end, duration))
    }

    fn time(&self, text: &str) -> Result<Timestamp, String> {
        let plain = self.cells.time(text);
        if plain.is_ok() || self.has_own_times {
            return plain;
        }
        for pattern in self.dialect.patterns {
            let Ok(time) = self.cells.by_pattern(pattern, text) else { continue };
            let is_halved =
                self.dialect.clock == Clock::LocalTwelveHours && !pattern.contains("%p");
            let hour = text.split_once(' ').and_then(|(_, clock)| clock.split(':').next());
            let is_early =
                hour.and_then(|hour| hour.parse().ok()).is_some_and(|hour: u32| hour < 8);
            let later = if is_halved && is_early { HALF_DAY_MS } else { 0 };
            return Ok(Timestamp::from_ms(time.ms().saturating_add(later)));
        }
        plain
    }
}

impl Dialect {
    /// Returns whether each record of the format must have a value in this field.
    fn signature_has(&self, field: Field) -> bool {
        self.has(field)
            && !matches!(self.format, document::sources::flows::TableFormat::Cicflowmeter)
    }
}

/// Parses a number; an empty one, `-`, NaN and an infinite one are missing.
fn number(text: Option<&str>) -> Result<Option<f64>, String> {
    match text.map(str::trim).unwrap_or_default() {
        "" | "-" | "(empty)" => Ok(None),
        text => match text.parse::<f64>() {
            Ok(number) => Ok(Some(number).filter(|number| number.is_finite())),
            Err(_) => Err(format!("`{}` is not a number", shown(text))),
        },
    }
}

fn count(text: Option<&str>) -> Result<Option<f64>, String> {
    match number(text)? {
        Some(number) if number < 0.0 => Err(format!("a count of {number:?} cannot be")),
        number => Ok(number),
    }
}

fn port(text: Option<&str>) -> Result<Option<u16>, String> {
    let Some(number) = number(text)? else { return Ok(None) };
    if number.fract() != 0.0 || !(0.0..=65_535.0).contains(&number) {
        return Err(format!("`{number:?}` is not a port"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok(Some(number as u16))
}

fn protocol(text: &str, dialect: &Dialect) -> Protocol {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "1.0" if dialect.has_own_protocols => Protocol::Tcp,
        "2" | "2.0" if dialect.has_own_protocols => Protocol::Udp,
        "tcp" | "6" | "6.0" => Protocol::Tcp,
        "udp" | "17" | "17.0" => Protocol::Udp,
        "icmp" | "icmpv4" | "icmp4" | "1" | "1.0" | "icmpv6" | "icmp6" | "ipv6-icmp" | "58" => {
            Protocol::Icmp
        }
        _ => Protocol::Other,
    }
}

fn is_true(text: &str) -> bool {
    ["true", "1", "1.0", "t"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Returns whether a TCP flow has SYN and no ACK; `None` if the record has no flags.
fn syn_only(get: &Get<'_>) -> Option<bool> {
    if let Some(flags) = get(Field::Flags).map(str::trim).filter(|flags| !flags.is_empty()) {
        let hexadecimal = flags.strip_prefix("0x").map(|hex| u32::from_str_radix(hex, 16));
        let bits = match hexadecimal {
            Some(parsed) => parsed.ok(),
            None => flags.parse::<u32>().ok(),
        };
        return Some(match bits {
            Some(bits) => bits & 0x12 == 0x02,
            None => flags.contains('S') && !flags.contains('A'),
        });
    }
    if let Some(state) = get(Field::State) {
        return Some(state == "S0");
    }
    let Some(syn) = get(Field::Syn) else {
        // Hubble writes the flags that are set, and no others.
        return get(Field::Verdict).map(|_| false);
    };
    let is_set = |text: &str| match number(Some(text)) {
        Ok(number) => number.is_some_and(|number| number > 0.0),
        Err(_) => is_true(text),
    };
    Some(is_set(syn) && !get(Field::Ack).is_some_and(is_set))
}

/// Returns whether a connection failed; `None` if the record has no such information.
fn failed(get: &Get<'_>) -> Option<bool> {
    if let Some(verdict) = get(Field::Verdict) {
        return Some(matches!(verdict, "DROPPED" | "ERROR"));
    }
    get(Field::State).map(|state| matches!(state, "S0" | "REJ" | "RSTOS0" | "RSTRH" | "SH" | "SHR"))
}

/// Reverses a reply, so that it has its connection's direction.
fn reversed(flow: Flow) -> Flow {
    Flow {
        source: flow.destination,
        destination: flow.source,
        source_port: flow.destination_port,
        destination_port: flow.source_port,
        sent_bytes: flow.received_bytes,
        received_bytes: flow.sent_bytes,
        sent_packets: flow.received_packets.or(Some(0.0)),
        received_packets: flow.sent_packets,
        ..flow
    }
}

/// Returns the address of a text or an integer; `None` for another identifier.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let bare = text.split('%').next().unwrap_or(text);
    let integer = || bare.parse::<u32>().ok().map(|bits| IpAddr::V4(Ipv4Addr::from(bits)));
    bare.parse().ok().or_else(integer)
}
