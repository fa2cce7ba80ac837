//! Sums of the flows of a source address in a window.

use std::collections::{BTreeMap, HashMap};

use contract::{Span, Timestamp};
use document::sources::flows::{Cidr, FLOW_COLUMNS, SOURCE_COLUMNS};

use super::flow::{Flow, Protocol, address};

/// Address blocks of the document, and a cache of look-ups.
#[derive(Debug)]
pub(super) struct Blocks {
    blocks: Vec<Cidr>,
    known: HashMap<String, bool>,
}

impl Blocks {
    /// Takes blocks that were already checked with the document.
    pub(super) fn new(blocks: &[String]) -> Self {
        Self {
            blocks: blocks.iter().filter_map(|it| Cidr::parse(it)).collect(),
            known: HashMap::new(),
        }
    }

    /// Returns whether an address is in a block; `None` if the document has no blocks.
    pub(super) fn contain(&mut self, text: &str) -> Option<bool> {
        if self.blocks.is_empty() {
            return None;
        }
        if let Some(known) = self.known.get(text) {
            return Some(*known);
        }
        let within = |address| self.blocks.iter().any(|block| block.contains(address));
        let is_inside = address(text).is_some_and(within);
        self.known.insert(text.to_owned(), is_inside);
        Some(is_inside)
    }
}

/// A sum of a value that some flows lack.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    total: f64,
    count: u64,
}

impl Sum {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.total += value;
            self.count += 1;
        }
    }

    fn add_bool(&mut self, value: Option<bool>) {
        self.add(value.map(|value| f64::from(u8::from(value))));
    }

    fn total(self) -> Option<f64> {
        (self.count > 0).then_some(self.total)
    }

    fn mean(self) -> Option<f64> {
        self.total().map(|total| total / self.count as f64)
    }
}

/// The flows of a source address that ended in a window.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Name of the entity.
    pub(super) name: String,
    flows: u64,
    bytes: Sum,
    sent_bytes: Sum,
    received_bytes: Sum,
    packets: Sum,
    sent_packets: Sum,
    received_packets: Sum,
    duration: Sum,
    longest_seconds: f64,
    /// Flows by destination (by number) and port.
    destinations: HashMap<(u32, Option<u16>), u32>,
    syn_only: Sum,
    failed: Sum,
    tcp: u64,
    udp: u64,
    icmp: u64,
    outside: Sum,
    outside_bytes: Sum,
    labels: BTreeMap<String, u32>,
}

/// All groups, by window and by number of the address.
#[derive(Debug, Default)]
pub(super) struct Windows {
    numbers: HashMap<String, u32>,
    groups: BTreeMap<(Timestamp, u32), Group>,
}

impl Windows {
    fn number(&mut self, address: &str) -> u32 {
        if let Some(number) = self.numbers.get(address) {
            return *number;
        }
        let number = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        self.numbers.insert(address.to_owned(), number);
        number
    }

    /// Adds a flow to the window that ends at `end`.
    pub(super) fn add(&mut self, end: Timestamp, flow: &Flow, cluster: &mut Blocks) {
        let (source, destination) = (self.number(&flow.source), self.number(&flow.destination));
        let is_inside = cluster.contain(&flow.destination);
        let group = self.groups.entry((end, source)).or_default();
        if group.name.is_empty() {
            flow.entity().clone_into(&mut group.name);
        }
        group.add(flow, destination, is_inside);
        // The destination of a packet receives it, regardless of who started the flow. Without
        // addresses this is unknown.
        if destination != source {
            let receiver = self.groups.entry((end, destination)).or_default();
            receiver.received_bytes.add(flow.sent_bytes);
            receiver.received_packets.add(flow.sent_packets);
        }
    }

    /// Returns the group of a source and a window.
    pub(super) fn group(&self, end: Timestamp, source: &str) -> Option<&Group> {
        self.groups.get(&(end, *self.numbers.get(source)?))
    }

    /// Returns the groups of addresses that started flows, in order of time.
    pub(super) fn groups(&self) -> impl Iterator<Item = (Timestamp, &Group)> {
        let groups = self.groups.iter().filter(|(_, group)| group.flows > 0);
        groups.map(|((end, _), group)| (*end, group))
    }
}

impl Group {
    fn add(&mut self, flow: &Flow, destination: u32, is_inside: Option<bool>) {
        self.flows += 1;
        self.bytes.add(flow.bytes);
        self.sent_bytes.add(flow.sent_bytes);
        self.received_bytes.add(flow.received_bytes);
        self.packets.add(flow.packets);
        self.sent_packets.add(flow.sent_packets);
        self.received_packets.add(flow.received_packets);
        self.duration.add(flow.duration_seconds);
        self.longest_seconds = self.longest_seconds.max(flow.duration_seconds.unwrap_or(0.0));
        *self.destinations.entry((destination, flow.destination_port)).or_default() += 1;
        self.syn_only.add_bool(flow.is_syn_only);
        self.failed.add_bool(flow.is_failed);
        match flow.protocol {
            Protocol::Tcp => self.tcp += 1,
            Protocol::Udp => self.udp += 1,
            Protocol::Icmp => self.icmp += 1,
            Protocol::Other => {}
        }
        self.outside.add_bool(is_inside.map(|inside| !inside));
        if is_inside == Some(false) {
            self.outside_bytes.add(flow.sent_bytes);
        }
        if !flow.label.is_empty() {
            match self.labels.get_mut(&flow.label) {
                Some(count) => *count += 1,
                None => drop(self.labels.insert(flow.label.clone(), 1)),
            }
        }
    }

    /// Returns the most frequent label that is not normal, or the most frequent label if all are
    /// normal.
    pub(super) fn label(&self, normal: &[String]) -> String {
        let labels = self.labels.iter();
        let rank = |(label, count): &(&String, &u32)| (!frames::is_normal(normal, label), **count);
        labels.max_by_key(rank).map(|(label, _)| label.clone()).unwrap_or_default()
    }

    /// Returns the values of the columns of sources, in their order.
    pub(super) fn values(&self, step: Span) -> [Option<f64>; SOURCE_COLUMNS.len()] {
        let flows = self.flows as f64;
        let per_second = |total: Option<f64>| total.map(|total| total / step.seconds());
        let share = |count: u64| Some(count as f64 / flows);
        let mut by_port: BTreeMap<u16, u32> = BTreeMap::new();
        let mut destinations: Vec<u32> = Vec::with_capacity(self.destinations.len());
        for ((destination, port), count) in &self.destinations {
            destinations.push(*destination);
            if let Some(port) = port {
                *by_port.entry(*port).or_default() += count;
            }
        }
        destinations.sort_unstable();
        destinations.dedup();
        let top = self.destinations.values().max().copied().unwrap_or(0);
        // If bytes are reported at all, an address without incoming flows received none.
        let (sent, sent_packets) = (self.sent_bytes.total(), self.sent_packets.total());
        let received = sent.map(|_| self.received_bytes.total);
        let outside_bytes = self.outside.total().and(sent).map(|_| self.outside_bytes.total);
        [
            per_second(Some(flows)),
            per_second(sent),
            per_second(received),
            per_second(sent_packets),
            per_second(sent_packets.map(|_| self.received_packets.total)),
            self.bytes.total().map(|bytes| bytes / flows),
            ratio(self.bytes.total(), self.packets.total()),
            ratio(sent, sent.map(|sent| sent + self.received_bytes.total)),
            // Some tools write no duration for flows without an answer.
            self.duration.mean().or(Some(0.0)),
            Some(self.longest_seconds),
            Some(destinations.len() as f64),
            Some(by_port.len() as f64),
            Some(entropy_bits(by_port.values().copied())),
            Some(self.destinations.len() as f64 / flows),
            Some(f64::from(top) / flows),
            // A source without TCP has no failed connection attempts.
            self.syn_only.mean().or(Some(0.0)),
            self.failed.mean().or(Some(0.0)),
            share(self.tcp),
            share(self.udp),
            share(self.icmp),
            self.outside.mean(),
            per_second(outside_bytes),
        ]
    }
}

/// Returns the values of the columns of one flow, in their order.
pub(super) fn flow_values(flow: &Flow, cluster: &mut Blocks) -> [Option<f64>; FLOW_COLUMNS.len()] {
    let truth = |is_true: bool| f64::from(u8::from(is_true));
    let is = |protocol| Some(truth(flow.protocol == protocol));
    [
        flow.bytes,
        flow.sent_bytes,
        flow.received_bytes,
        flow.packets,
        flow.sent_packets,
        flow.received_packets,
        flow.duration_seconds,
        ratio(flow.bytes, flow.duration_seconds),
        ratio(flow.packets, flow.duration_seconds),
        ratio(flow.bytes, flow.packets),
        ratio(flow.sent_bytes, flow.bytes),
        flow.source_port.map(f64::from),
        flow.destination_port.map(f64::from),
        is(Protocol::Tcp),
        is(Protocol::Udp),
        is(Protocol::Icmp),
        flow.is_syn_only.map(truth),
        flow.is_failed.map(truth),
        cluster.contain(&flow.source).map(truth),
        cluster.contain(&flow.destination).map(truth),
    ]
}

/// Divides; `None` if a side is missing or the divisor is zero.
fn ratio(above: Option<f64>, below: Option<f64>) -> Option<f64> {
    match (above, below) {
        (Some(above), Some(below)) if below > 0.0 => Some(above / below),
        _ => None,
    }
}

/// Returns the Shannon entropy of a distribution, in bits.
fn entropy_bits(counts: impl Iterator<Item = u32> + Clone) -> f64 {
    let total: f64 = counts.clone().map(f64::from).sum();
    let shares = counts.map(|count| f64::from(count) / total);
    // Adding zero turns the negative zero of a single port into zero.
    -shares.map(|share| share * share.log2()).sum::<f64>() + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_of_ports_counts_bits() {
        let bits = |counts: &[u32]| entropy_bits(counts.iter().copied());
        assert_eq!(bits(&[]).to_bits(), 0.0_f64.to_bits());
        assert_eq!(bits(&[7]).to_bits(), 0.0_f64.to_bits());
        assert!((bits(&[1, 1, 1, 1]) - 2.0).abs() < 1e-12);
        assert!((bits(&[1, 3]) - 0.811_278).abs() < 1e-6);
    }

    #[test]
    fn label_of_a_window_is_its_commonest_anomaly() {
        let labels = |pairs: &[(&str, u32)]| Group {
            labels: pairs.iter().map(|(label, count)| ((*label).to_owned(), *count)).collect(),
            ..Group::default()
        };
        let normal = ["benign".to_owned()];
        assert_eq!(labels(&[("benign", 9), ("a", 1), ("b", 2)]).label(&normal), "b");
        assert_eq!(labels(&[("benign", 9)]).label(&normal), "benign");
        assert_eq!(labels(&[]).label(&normal), "");
    }
}
