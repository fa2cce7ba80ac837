//! `lynceus scenario`: injects faults and logs their true times.

mod api;
mod check;
mod record;

use std::path::PathBuf;

use contract::{SYSTEM_HINT, Span, StepError, Timestamp};
use scenario::chaos;
use scenario::file::ScenarioFile;
use scenario::log::{End, Record, ScenarioLog};
use scenario::runner::{Progress, Runner, WorkerCommand, normal_share};
use scenario::timetable::{self, Timetable};
use scenario::worker::{self, Stop};
use serde_json::json;

use super::{Global, OutputFormat, print, print_json, say};
use crate::run::{INTERRUPTED, table};

/// What to do with a scenario file.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ScenarioCommand {
    /// Show the timetable: time, fault, target and duration
    #[command(after_help = "Example: lynceus scenario plan pipelines/scenarios/laptop.yaml")]
    Plan(TimetableArgs),
    /// Inject the faults on this machine and write the scenario log
    ///
    /// Everything a fault starts ends with it, also at Ctrl-C and when this program is killed.
    #[command(
        after_help = "Example: lynceus scenario run pipelines/scenarios/laptop.yaml --pilot 15m"
    )]
    Run(TimetableArgs),
    /// Show the faults of the log, and whether a scenario is running
    #[command(after_help = "Example: lynceus scenario status pipelines/scenarios/laptop.yaml")]
    Status {
        /// Scenario file
        file: PathBuf,
    },
    /// Check whether a data set shows the faults: rows, gaps, overlaps, visibility; exit code 3 if
    /// not
    #[command(
        after_help = "Example: lynceus scenario check pipelines/scenarios/laptop.yaml --features features.parquet"
    )]
    Check(check::CheckArgs),
    /// Write an Argo workflow that injects the faults through Chaos Mesh
    #[command(
        after_help = "Example: lynceus scenario manifests pipelines/scenarios/chaos-mesh.yaml --namespace lynceus"
    )]
    Manifests(ManifestsArgs),
    /// Append a fault of Chaos Mesh to the log in the store; a step of the generated workflow
    #[command(
        hide = true,
        after_help = "Example: lynceus scenario record scenario.yaml --id s-0 --step 0 --seconds 300 --object s-0"
    )]
    Record(record::RecordArgs),
    /// Run one fault, which is read from standard input; started by `scenario run`
    #[command(hide = true, after_help = "Example: lynceus scenario worker")]
    Worker,
}

/// Flags of commands about the timetable.
#[derive(Debug, clap::Args)]
pub(crate) struct TimetableArgs {
    /// Scenario file
    file: PathBuf,
    /// Run each step once, with all durations shortened so that the scenario takes at most this
    /// long
    #[arg(long, value_name = "DURATION")]
    pilot: Option<Span>,
}

/// Flags of `lynceus scenario manifests`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManifestsArgs {
    #[command(flatten)]
    timetable: TimetableArgs,
    /// Namespace of the workflow and its Chaos Mesh objects
    #[arg(long, value_name = "NAME", default_value = "lynceus")]
    namespace: String,
    /// Image with the program `lynceus`
    #[arg(long, value_name = "IMAGE", default_value = "lynceus/lynceus:0.1.0")]
    image: String,
    /// Secret with the credentials of the store, as environment variables
    #[arg(long, value_name = "NAME", default_value = "lynceus-store-trainer")]
    store_secret: String,
}

pub(crate) fn execute(global: &Global, command: &ScenarioCommand) -> Result<(), StepError> {
    match command {
        ScenarioCommand::Plan(args) => plan(global, args),
        ScenarioCommand::Run(args) => run(global, args),
        ScenarioCommand::Status { file } => status(global, file),
        ScenarioCommand::Check(args) => check::execute(global, args),
        ScenarioCommand::Manifests(args) => manifests(global, args),
        ScenarioCommand::Record(args) => record::execute(global, args),
        ScenarioCommand::Worker => worker::main(),
    }
}

impl TimetableArgs {
    fn read(&self) -> Result<(ScenarioFile, Timetable), StepError> {
        let file = ScenarioFile::read(&self.file)?;
        if self.pilot.is_some_and(|pilot| pilot <= Span::ZERO) {
            return Err(StepError::usage("`--pilot` must be greater than 0s")
                .hint("write it as in --pilot 30s"));
        }
        let timetable = timetable::make(&file, self.pilot);
        Ok((file, timetable))
    }
}

fn plan(global: &Global, args: &TimetableArgs) -> Result<(), StepError> {
    let (file, timetable) = args.read()?;
    let entries = timetable.entries.iter().map(|entry| {
        let step = &file.steps[entry.step];
        json!({"offset": entry.offset, "label": step.label, "kind": step.kind(),
               "target": step.target, "duration": entry.duration, "repeat": entry.repeat + 1})
    });
    if global.output() == OutputFormat::Json {
        return print_json(
            &json!({"total": timetable.total, "entries": entries.collect::<Vec<_>>()}),
        );
    }
    let head = ["after", "label", "kind", "target", "for"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    rows.extend(timetable.entries.iter().map(|entry| {
        let step = &file.steps[entry.step];
        let target = if step.target.is_empty() { "all" } else { &step.target };
        [&*entry.offset.to_string(), &step.label, step.kind(), target, &entry.duration.to_string()]
            .map(str::to_owned)
            .to_vec()
    }));
    print(&format!(
        "{}{} faults in {}, {:.0} % of it normal time\n",
        table(&rows),
        timetable.entries.len(),
        timetable.total,
        100.0 * normal_share(&timetable)
    ))
}

fn run(global: &Global, args: &TimetableArgs) -> Result<(), StepError> {
    let (file, timetable) = args.read()?;
    let log = ScenarioLog::new(&file.log_path(&args.file));
    let _lease = log.lease()?;
    for lost in log.reconcile()? {
        say(&format!(
            "warning: the fault `{}` of {} has no end in the log: its windows are excluded",
            lost.label, lost.start
        ));
    }
    let program = std::env::current_exe()
        .map_err(|error| StepError::bug(format!("cannot find this program: {error}")))?;
    let runner = Runner {
        file: &file,
        timetable: &timetable,
        log: &log,
        worker: WorkerCommand { program: &program, arguments: &["scenario", "worker"] },
    };
    runner.prepare()?;
    // Workers and their cleanup take a little longer than the timetable.
    let stop = Stop::after((timetable.total + Span::from_seconds(3600)).to_std());
    stop_at_signals(stop.clone())?;
    let done = runner.run(&stop, &mut |progress| say(&told(&file, &progress)));
    if stop.is_asked() {
        return Err(StepError::usage(INTERRUPTED).hint("the log contains all faults until now"));
    }
    let records = done?;
    match global.output() {
        OutputFormat::Json => print_json(&records)?,
        OutputFormat::Text => print(&shown(&records))?,
    }
    print_log_path(global, &log)
}

fn print_log_path(global: &Global, log: &ScenarioLog) -> Result<(), StepError> {
    match global.output() {
        OutputFormat::Json => Ok(()),
        OutputFormat::Text => print(&format!("log  {}\n", log.csv().display())),
    }
}

fn told(file: &ScenarioFile, progress: &Progress<'_>) -> String {
    match progress {
        Progress::Normal(until) => format!("normal until {until}"),
        Progress::Injecting(entry) => {
            let step = &file.steps[entry.step];
            format!("injecting {} ({}) for {}", step.label, step.kind(), entry.duration)
        }
        Progress::Ended(entry, end) => {
            format!("{} {}", file.steps[entry.step].label, ending(end))
        }
    }
}

fn ending(end: &End) -> String {
    match end {
        End::Completed => "completed".to_owned(),
        End::Stopped => "stopped early".to_owned(),
        End::Failed(cause) => format!("failed: {cause}"),
        End::Lost => "lost: its worker was killed, its windows are excluded".to_owned(),
    }
}

fn shown(records: &[Record]) -> String {
    let head = ["start", "end", "label", "target", "result"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    rows.extend(records.iter().map(|record| {
        let end = record.end.map_or_else(|| "-".to_owned(), |end: Timestamp| end.to_string());
        let target = if record.target.is_empty() { "all" } else { &record.target };
        let result = record.outcome.as_ref().map_or_else(|| "running".to_owned(), ending);
        vec![record.start.to_string(), end, record.label.clone(), target.to_owned(), result]
    }));
    table(&rows)
}

fn status(global: &Global, path: &std::path::Path) -> Result<(), StepError> {
    let file = ScenarioFile::read(path)?;
    let log = ScenarioLog::new(&file.log_path(path));
    let (records, is_running) = (log.records()?, log.is_running());
    if global.output() == OutputFormat::Json {
        return print_json(&json!({"running": is_running, "faults": records}));
    }
    print(if is_running { "running\n" } else { "not running\n" })?;
    if records.is_empty() { print("no faults in the log\n") } else { print(&shown(&records)) }
}

fn manifests(global: &Global, args: &ManifestsArgs) -> Result<(), StepError> {
    let (file, timetable) = args.timetable.read()?;
    let settings = chaos::Settings {
        namespace: &args.namespace,
        image: &args.image,
        store: &global.store,
        store_secret: &args.store_secret,
    };
    let mut objects = vec![json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("lynceus-scenario-{}", file.name), "namespace": args.namespace},
        "data": {"scenario.yaml": contract_text(&args.timetable.file)?},
    })];
    objects.extend(chaos::manifests(&file, &timetable, &settings)?);
    if global.output() == OutputFormat::Json {
        return print_json(&json!({"apiVersion": "v1", "kind": "List", "items": objects}));
    }
    for object in &objects {
        let text = serde_saphyr::to_string(object)
            .map_err(|error| StepError::bug(format!("cannot write a manifest as YAML: {error}")))?;
        print(&format!("---\n{text}"))?;
    }
    Ok(())
}

fn contract_text(path: &std::path::Path) -> Result<String, StepError> {
    fs_err::read_to_string(path).map_err(|error| StepError::reading(path, &error))
}

/// Requests a stop on SIGINT and SIGTERM.
fn stop_at_signals(stop: Stop) -> Result<(), StepError> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| {
        StepError::unavailable(format!("cannot wait for signals: {error}")).hint(SYSTEM_HINT)
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (
            signal(SignalKind::interrupt()).map_err(failed)?,
            signal(SignalKind::terminate()).map_err(failed)?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        stop.ask();
    });
    Ok(())
}
