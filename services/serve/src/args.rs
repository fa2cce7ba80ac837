//! The flags of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser};
use contract::Span;
use contract::step::LogFormat;

/// Serve the live model of a pipeline by the Open Inference Protocol
#[derive(Debug, Clone, Parser)]
#[command(
    name = "serve",
    version,
    max_term_width = 100,
    after_help = "Example: serve --pipeline cluster --store s3://lynceus --address 0.0.0.0:8080"
)]
pub struct ServeArgs {
    /// Pipeline whose model is served; also the model's name in the protocol
    #[arg(long, value_name = "NAME")]
    pub pipeline: String,
    /// Store with the registry: a folder, `file:///folder` or `s3://bucket/prefix`
    #[arg(long, value_name = "URL", env = "LYNCEUS_STORE", default_value = ".lynceus")]
    pub store: String,
    /// The rest.
    #[command(flatten)]
    pub options: ServeOptions,
    /// Write log lines on stderr as text or as JSON
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub log: LogFormat,
}

/// Flags of the server itself.
#[derive(Debug, Clone, Args)]
pub struct ServeOptions {
    /// Alias of the version that answers
    #[arg(long, value_name = "NAME", default_value = "live")]
    pub alias: String,
    /// Alias of a version that also scores each request, without returning its scores;
    /// disagreements are counted
    #[arg(long, value_name = "NAME")]
    pub shadow: Option<String>,
    /// Listen on this address; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub address: SocketAddr,
    /// Time between two checks whether the alias points at another version
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub poll: Span,
    /// File with the bearer token that requests about models must have
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// File with the certificate chain (PEM); needs --tls-key
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// File with the private key (PEM); needs --tls-certificate
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Refuse bodies above this size in MiB, before and after decompression
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub max_body_mib: u32,
    /// Answer 503 above this many requests in flight
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_in_flight: u32,
    /// Answer 504 after this time
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub timeout: Span,
    /// Score requests of up to this many rows together with those that came while others were scored;
    /// 0 scores each by itself
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub batch_rows: u32,
    /// Wait this long for more requests before a batch is scored; needs --batch-rows
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub batch_delay: Span,
    /// Write a log line for each request: model, version, size, status and time, never its data
    #[arg(long)]
    pub request_log: bool,
    /// Replay this labelled feature table at /replay, such as a data set's validation.parquet; may be
    /// repeated, for the table of each shard
    #[arg(long, value_name = "FILE")]
    pub replay: Vec<PathBuf>,
    /// Rows per second of the replay
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    pub rate: f64,
    /// Labels that mean normal in the replay, without regard to case
    #[arg(long, value_name = "LABEL", value_delimiter = ',', default_values_t = ["normal", "benign", "0"].map(str::to_owned))]
    pub normal: Vec<String>,
    /// Use this many threads
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
}

impl Default for ServeOptions {
    /// Returns the defaults of the flags.
    fn default() -> Self {
        Self {
            alias: "live".to_owned(),
            shadow: None,
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            poll: Span::from_seconds(10),
            token_file: None,
            tls_certificate: None,
            tls_key: None,
            max_body_mib: 16,
            max_in_flight: 64,
            timeout: Span::from_seconds(10),
            batch_rows: 0,
            batch_delay: Span::ZERO,
            request_log: false,
            replay: Vec::new(),
            rate: 1.0,
            normal: ["normal", "benign", "0"].map(str::to_owned).to_vec(),
            threads: 2,
        }
    }
}
