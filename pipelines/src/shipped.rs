//! Bundled documents and recorded samples, so that the program works without the repository.

/// A bundled document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shipped {
    /// Its name.
    pub(crate) name: &'static str,
    /// Short description of its purpose.
    pub(crate) about: &'static str,
    /// Its text.
    pub(crate) text: &'static str,
    /// The files of its sample, by their path beside the document.
    pub(crate) sample: &'static [(&'static str, &'static [u8])],
}

/// Embeds files of `pipelines/` in the program.
macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../", $path)))),*]
    };
}

/// All bundled documents.
pub(crate) const ALL: &[Shipped] = &[CLUSTER, NODE, CONTAINER, FLOW, KUBERNETES_NODES, OWN];

/// A template for the user's own signals; it has no sample.
const OWN: Shipped = Shipped {
    name: "own",
    about: "a template for signals of your own",
    text: include_str!("../templates/own.yaml"),
    sample: &[],
};

const KUBERNETES_NODES: Shipped = Shipped {
    name: "kubernetes-nodes",
    about: "each node of a Kubernetes cluster, by the node_exporter in its Prometheus",
    text: include_str!("../templates/kubernetes-nodes.yaml"),
    sample: &[],
};

const NODE: Shipped = Shipped {
    name: "node",
    about: "which node misbehaves, by its metrics and by what its processes do",
    text: include_str!("../node.yaml"),
    sample: files![
        "samples/node.yaml",
        "samples/node/metrics.csv.gz",
        "samples/node/scenarios.csv",
        "samples/node/events/node-a.jsonl.gz",
        "samples/node/events/node-b.jsonl.gz",
        "samples/node/events/node-c.jsonl.gz",
    ],
};

const CONTAINER: Shipped = Shipped {
    name: "container",
    about: "which kind of service each container is, and whether it behaves like its image",
    text: include_str!("../container.yaml"),
    sample: files!["samples/container.yaml", "samples/container.csv.gz"],
};

const FLOW: Shipped = Shipped {
    name: "flow",
    about: "attacks in the network traffic of a cluster",
    text: include_str!("../flow.yaml"),
    sample: files!["samples/flow.yaml", "samples/flow.csv.gz", "samples/flow/scenarios.csv"],
};

const CLUSTER: Shipped = Shipped {
    name: "cluster",
    about: "the four golden signals of a whole Kubernetes cluster",
    text: include_str!("../cluster.yaml"),
    sample: files![
        "samples/cluster.yaml",
        "samples/cluster/scenarios.csv",
        "samples/cluster/active_client_connections.json.gz",
        "samples/cluster/api_server_error_rate.json.gz",
        "samples/cluster/api_server_request_latency_seconds.json.gz",
        "samples/cluster/api_server_request_rate.json.gz",
        "samples/cluster/container_cpu_cfs_throttled_ratio.json.gz",
        "samples/cluster/container_cpu_system_cores.json.gz",
        "samples/cluster/container_cpu_usage_cores.json.gz",
        "samples/cluster/container_cpu_user_cores.json.gz",
        "samples/cluster/container_fs_reads_bytes.json.gz",
        "samples/cluster/container_fs_writes_bytes.json.gz",
        "samples/cluster/container_memory_working_set_bytes.json.gz",
        "samples/cluster/container_network_receive_bytes.json.gz",
        "samples/cluster/container_network_receive_errors.json.gz",
        "samples/cluster/container_network_receive_packets.json.gz",
        "samples/cluster/container_network_receive_packets_dropped.json.gz",
        "samples/cluster/container_network_transmit_bytes.json.gz",
        "samples/cluster/container_network_transmit_errors.json.gz",
        "samples/cluster/container_network_transmit_packets.json.gz",
        "samples/cluster/container_network_transmit_packets_dropped.json.gz",
        "samples/cluster/reading_client_connections.json.gz",
        "samples/cluster/scheduler_preemption_attempts.json.gz",
        "samples/cluster/scheduler_scheduling_latency_seconds.json.gz",
        "samples/cluster/scheduling_failed_pods.json.gz",
        "samples/cluster/waiting_client_connections.json.gz",
        "samples/cluster/workqueue_depth.json.gz",
        "samples/cluster/writing_client_connections.json.gz",
    ],
};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_program_holds_every_file_of_a_sample() {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
        let files = contract::artifact::files_below(&samples).unwrap();
        for shipped in ALL.iter().filter(|shipped| !shipped.sample.is_empty()) {
            let (folder, beside) = (format!("{}/", shipped.name), format!("{}.", shipped.name));
            let is_own = |file: &&String| {
                let is_raw = file.starts_with(&format!("{folder}raw."));
                let is_picture = **file == format!("{beside}svg");
                !is_raw && !is_picture && (file.starts_with(&folder) || file.starts_with(&beside))
            };
            let mut own: Vec<String> =
                files.iter().filter(is_own).map(|file| format!("samples/{file}")).collect();
            let mut held: Vec<String> =
                shipped.sample.iter().map(|(name, _)| (*name).to_owned()).collect();
            own.sort_unstable();
            held.sort_unstable();
            assert_eq!(held, own);
        }
    }

    #[test]
    fn every_document_that_comes_with_the_program_can_be_read() {
        for shipped in ALL {
            let document = document::parse(shipped.name, shipped.text).unwrap();
            assert_eq!(document.name, shipped.name);
        }
    }
}
