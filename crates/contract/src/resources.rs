//! CPU and memory of a program in a cluster.

/// What a program requests of a node, and its limits; a step that exceeds the limits has a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Requested CPU, as Kubernetes writes it: `100m` is a tenth of a CPU.
    pub cpu: &'static str,
    /// Requested memory, such as `128Mi`.
    pub memory: &'static str,
    /// Limit of CPU, such as `2`.
    pub cpu_limit: &'static str,
    /// Limit of memory, such as `1Gi`.
    pub memory_limit: &'static str,
}

impl Resources {
    /// Of most steps in a training.
    ///
    /// Training on one day of minutes takes 33 MiB and 0.2 s of CPU time in its largest step; on
    /// the bundled sample, `validate` takes 90 MiB. Requests are near that, so that a training fits
    /// beside other work on a node of two cores; limits leave room for ten days of many entities.
    pub const TRAINING: Self =
        Self { cpu: "100m", memory: "128Mi", cpu_limit: "2", memory_limit: "1Gi" };

    /// Of most steps in a tick: it processes minutes, not days, in 20 MiB.
    pub const SCORING: Self =
        Self { cpu: "10m", memory: "32Mi", cpu_limit: "1", memory_limit: "256Mi" };
}
