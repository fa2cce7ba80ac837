//! Runs a step: parses its flags, writes its outcome, returns its exit code.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::deadline::Deadline;
use crate::resources::Resources;
use crate::{Outcome, Shard, Span, StepError, artifact, write_json};

/// Beginning of the log line of a retry of a request to an outside service: a runner shows it while
/// the step runs.
pub const RETRYING: &str = "Retrying";

/// Declares [`Stage`].
macro_rules! stages {
    ($(#[doc = $about:tt] $name:ident: $stage:ident($args:ident),)*) => {
        /// A stage of the pipeline. Its folder, crate, program, image, Argo task and log field have
        /// the same name.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum Stage {
            $(#[doc = $about] $stage,)*
        }

        impl Stage {
            /// Every stage, in the order of a pipeline.
            pub const ALL: &'static [Self] = &[$(Self::$stage),*];

            /// Returns the stage's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$stage => stringify!($name),)*
                }
            }
        }
    };
}

crate::steps!(stages);

impl Stage {
    /// Returns the stage of a name, as [`Stage::name`] gives it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|stage| stage.name() == name)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A named path that a step reads or writes; the name is the flag without its dashes.
///
/// Two tasks are connected if the output path of one is the input path of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port<'a> {
    /// The flag's name, which is also the kind of artifact: `dataset`, `candidate`, `bundle`.
    pub name: &'static str,
    /// Where it lies.
    pub path: &'a Path,
}

impl<'a> Port<'a> {
    /// Makes a port.
    pub fn new(name: &'static str, path: &'a Path) -> Self {
        Self { name, path }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// One JSON object per line, for a log collector.
    Json,
}

/// The flags every step has.
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize)]
pub struct Common {
    /// Write the outcome (status, counts, metrics, hashes) to this JSON file
    #[arg(long, value_name = "FILE", help_heading = "Every step")]
    pub outcome: Option<PathBuf>,
    /// Write log lines on stderr as text or as JSON
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Every step"
    )]
    pub log: LogFormat,
    /// Use this many threads; the outputs do not depend on it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Every step")]
    pub threads: u16,
    /// End with exit code 4 when the step has run for this long
    #[arg(long, value_name = "DURATION", help_heading = "Every step")]
    pub deadline: Option<Span>,
    /// Do not sync outputs to the disk, because they are read once and then deleted; writes to a
    /// store are always synced
    #[arg(long, help_heading = "Every step")]
    pub scratch: bool,
    /// Write the cause of a failure to this file, as one line of text; Kubernetes reads it from
    /// `/dev/termination-log` and Argo shows it as the workflow's message
    #[arg(long, value_name = "FILE", help_heading = "Every step")]
    pub termination_log: Option<PathBuf>,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            outcome: None,
            log: LogFormat::Text,
            threads: 1,
            deadline: None,
            scratch: false,
            termination_log: None,
        }
    }
}

/// The typed flags of one step.
pub trait StepArgs: Args + Serialize {
    /// The stage these flags belong to.
    const STAGE: Stage;

    /// A command line of `lynceus step`, as its help shows it.
    const EXAMPLE: &'static str;

    /// Returns the flags every step has.
    fn common(&self) -> &Common;

    /// Returns what the step reads.
    fn inputs(&self) -> Vec<Port<'_>>;

    /// Returns what the step writes.
    fn outputs(&self) -> Vec<Port<'_>>;

    /// Returns whether the outputs depend only on the flags and the inputs, so that they may be
    /// taken from an earlier run. A step that changes a store must run again.
    fn is_cached(&self) -> bool {
        false
    }

    /// Returns the kinds of models that its flags name, which must be in the document.
    fn named_models(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Returns the shard of `--shard`; most steps have none, and work on the outputs of the steps
    /// before them.
    fn shard(&self) -> Option<Shard> {
        None
    }

    /// Returns the flags for a step of a tick that runs again after another step failed; `None`
    /// for most steps. It waits for no other step, because its data is in the store. `failed` is
    /// Argo's list of failures; without it the step reads the outcomes of the others.
    fn after_failure(&self, _failed: Option<String>) -> Option<Self> {
        None
    }

    /// Returns the resources of its pod in a training.
    fn training_resources(&self) -> Resources {
        Resources::TRAINING
    }

    /// Returns how many threads it uses in a training in a cluster.
    fn training_threads(&self) -> u16 {
        1
    }

    /// Returns the resources of its container in the pod of a tick.
    fn scoring_resources(&self) -> Resources {
        Resources::SCORING
    }
}

/// The library function behind a step.
pub type StepFunction<A> = fn(&A, &mut Outcome) -> Result<(), StepError>;

#[derive(Parser)]
#[command(version)]
struct CommandLine<A: Args> {
    #[command(flatten)]
    args: A,
}

/// Runs a step as a program: parses the flags, runs it, writes the outcome, prints the error.
///
/// The whole `main` of each step is one call of this.
pub fn main<A: StepArgs>(about: &'static str, run: StepFunction<A>) -> ExitCode {
    let command = CommandLine::<A>::command().name(A::STAGE.name()).about(about);
    let matches = command.get_matches();
    match CommandLine::<A>::from_arg_matches(&matches) {
        Ok(parsed) => ExitCode::from(execute(&parsed.args, run)),
        Err(error) => {
            // clap prints its own text; a failure to print cannot be reported.
            drop(error.print());
            ExitCode::from(2)
        }
    }
}

/// Runs a step with parsed flags and returns its exit code.
pub fn execute<A: StepArgs>(args: &A, run: StepFunction<A>) -> u8 {
    start_logging(args.common().log);
    artifact::scratch(args.common().scratch);
    let stage = A::STAGE;
    let deadline = Deadline::start(stage, args.common());
    let mut outcome = Outcome::start(stage.name());
    let mut result = run(args, &mut outcome);
    // From here on the step sets the outcome, and no outside service is waited for.
    deadline.met();
    outcome.finish(args, &result);
    if let Some(path) = &args.common().outcome {
        let written = write_json(path, &outcome);
        result = result.and(written);
    }
    match result {
        Ok(()) => {
            tracing::info!(step = %stage, seconds = outcome.seconds, counts = ?outcome.counts, "Done");
            0
        }
        Err(error) => {
            tell(args.common().log, stage, &error);
            if let Some(path) = &args.common().termination_log {
                explain(path, &error);
            }
            error.kind.exit_code()
        }
    }
}

/// Most bytes that Kubernetes keeps of a termination message.
const TERMINATION_BYTES: usize = 4096;

/// Writes the cause of a failure to the file that Kubernetes reads. The file exists already and is
/// a mount, so it is written in place and not renamed.
pub(crate) fn explain(path: &Path, error: &StepError) {
    let mut text = error.to_string();
    let end = (0..=TERMINATION_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    if let Err(error) = fs_err::write(path, text.replace('\n', " ")) {
        tracing::warn!(%error, "Could not write the termination message");
    }
}

pub(crate) fn tell(format: LogFormat, stage: Stage, error: &StepError) {
    match format {
        LogFormat::Json => {
            let hint = error.hint.as_deref().unwrap_or_default();
            tracing::error!(step = %stage, kind = ?error.kind, hint, "{}", error.message);
        }
        // An error cannot be reported if stderr is closed.
        LogFormat::Text => drop(writeln!(std::io::stderr(), "error: {stage}: {error}")),
    }
}

/// Sends log lines to stderr; a second call changes nothing.
pub fn start_logging(format: LogFormat) {
    use std::io::IsTerminal as _;
    let level = tracing::Level::INFO;
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false);
    // An error means that logging was started before, which is kept.
    match format {
        LogFormat::Json => {
            drop(builder.json().flatten_event(true).with_current_span(false).try_init());
        }
        LogFormat::Text => drop(builder.with_ansi(std::io::stderr().is_terminal()).try_init()),
    }
}

/// Prints typed flags back as a command line, without the program's name.
///
/// It uses the serialised fields, which have the names of the flags. So a renamed flag is also
/// renamed here, and absent options print nothing.
pub fn command_line<A: Serialize>(args: &A) -> Result<Vec<OsString>, StepError> {
    let bug = |what: &dyn fmt::Display| StepError::bug(format!("flags do not print: {what}"));
    let value = serde_json::to_value(args).map_err(|e| bug(&e))?;
    let Value::Object(fields) = value else { return Err(bug(&"not a struct")) };
    let mut line = Vec::new();
    for (name, value) in fields {
        let flag = format!("--{}", name.replace('_', "-"));
        let values = match value {
            Value::Null | Value::Bool(false) => continue,
            Value::Bool(true) => {
                line.push(flag.into());
                continue;
            }
            Value::Array(values) => values,
            one => vec![one],
        };
        for value in values {
            line.push(flag.clone().into());
            line.push(match value {
                Value::String(text) => text.into(),
                Value::Number(number) => number.to_string().into(),
                other => return Err(bug(&other)),
            });
        }
    }
    Ok(line)
}

/// Returns the flags that are neither ports nor common to all steps. Together with the inputs they
/// determine a step's outputs. Values are compact JSON.
pub fn parameters<A: StepArgs>(args: &A) -> Result<BTreeMap<String, String>, StepError> {
    let bug = |e: serde_json::Error| StepError::bug(format!("flags do not print: {e}"));
    let common = serde_json::to_value(Common::default()).map_err(bug)?;
    let mut value = serde_json::to_value(args).map_err(bug)?;
    let fields = value.as_object_mut().into_iter().flat_map(std::mem::take);
    let (inputs, outputs) = (args.inputs(), args.outputs());
    let is_port = |name: &str| inputs.iter().chain(&outputs).any(|port| port.name == name);
    let kept = fields
        .filter(|(name, value)| !value.is_null() && common.get(name).is_none() && !is_port(name));
    Ok(kept.map(|(name, value)| (name, value.to_string())).collect())
}
