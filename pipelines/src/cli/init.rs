//! `lynceus init`: writes a document that is fitted to a Prometheus, or copies a bundled document.

mod fit;

use std::path::{Path, PathBuf};

use collect::look::{Facts, Look};
use contract::{Span, StepError, Timestamp, artifact};
use document::Secret;
use document::http::{Auth, Http};
use document::sources::prometheus::PrometheusSource;

use super::context::{absolute, clock};
use super::{Global, OutputFormat, print, print_json, say};
use crate::shipped::{self, Shipped};
use fit::{Choice, Fit};

/// Flags of `lynceus init`.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// Name of the pipeline to write [default: the name of the document given by `--from`]
    #[arg(value_name = "PIPELINE")]
    name: Option<String>,
    /// Query the Prometheus at this base URL, and leave out queries without data
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Start from this bundled document
    #[arg(long, value_name = "NAME", default_value = "cluster")]
    from: String,
    /// Send the bearer token in this file
    #[arg(long, value_name = "FILE", requires = "url")]
    bearer_token_file: Option<PathBuf>,
    /// Trust the CA certificates in this file (PEM) instead of the system's
    #[arg(long, value_name = "FILE", requires = "url")]
    ca_file: Option<PathBuf>,
    /// Overwrite a document of this name
    #[arg(long)]
    force: bool,
}

pub(crate) fn execute(global: &Global, args: &InitArgs) -> Result<(), StepError> {
    let shipped = find(&args.from)?;
    let name = args.name.as_deref().unwrap_or(shipped.name);
    let path = global.pipelines.join(format!("{name}.yaml"));
    if path.exists() && !args.force {
        return Err(StepError::usage(format!("`{}` already exists", path.display()))
            .hint("choose another name, or overwrite it with --force"));
    }
    let text = match &args.url {
        None => shipped.text.replacen(
            &format!("\nname: {}\n", shipped.name),
            &format!("\nname: {name}\n"),
            1,
        ),
        Some(url) => fitting(args, shipped, name, url, &global.pipelines)?,
    };
    // Checks that the written document can be read: an invalid pipeline name fails here.
    document::parse(&path.display().to_string(), &text)?;
    artifact::write_file(&path, text.as_bytes())?;
    if name == shipped.name {
        for (file, bytes) in shipped.sample {
            artifact::write_file(&global.pipelines.join(file), bytes)?;
        }
    }
    match global.output() {
        OutputFormat::Json => print_json(&serde_json::json!({"pipeline": name, "path": path}))?,
        OutputFormat::Text => print(&format!("{}\n", path.display()))?,
    }
    let next = match &args.url {
        Some(_) => format!("Next: lynceus run {name}"),
        None if name == shipped.name && !shipped.sample.is_empty() => {
            format!("Next: lynceus run {name} --sample, or set your sources in {}", path.display())
        }
        None => format!("Next: set your sources in {}, then lynceus run {name}", path.display()),
    };
    say(&next);
    Ok(())
}

fn find(name: &str) -> Result<&'static Shipped, StepError> {
    let known = || shipped::ALL.iter().map(|shipped| shipped.name);
    shipped::ALL.iter().find(|shipped| shipped.name == name).ok_or_else(|| {
        let unknown = StepError::usage(format!("no document `{name}` comes with the program"));
        let all: Vec<String> = shipped::ALL
            .iter()
            .map(|shipped| format!("{} ({})", shipped.name, shipped.about))
            .collect();
        match document::closest(name, known()) {
            Some(meant) => unknown.hint(format!("did you mean `{meant}`?")),
            None => unknown.hint(format!("there are: {}", all.join(", "))),
        }
    })
}

/// Returns the text of a document for the data of a server.
fn fitting(
    args: &InitArgs,
    shipped: &Shipped,
    name: &str,
    url: &str,
    folder: &Path,
) -> Result<String, StepError> {
    let document = document::parse(shipped.name, shipped.text)?;
    if document.sources.values().all(|source| source.queries.is_empty()) {
        let refused =
            StepError::usage(format!("`{}` has no queries of a Prometheus", shipped.name));
        return Err(refused.hint("leave out --url, and set its sources in the document"));
    }
    let source = source(args, url, folder)?;
    let look = Look::new(&source.server, folder)?;
    say(&format!("Looking at {url}"));
    let now = clock();
    let facts = look.facts(now, document.range)?;
    let rate_window = rate_window(document.rate_window, facts.scrape_interval);
    let mut choices = Vec::new();
    for query in document.sources.values().flat_map(|source| &source.queries) {
        choices.push(Choice::of(query, rate_window, &facts, |promql| look.series(promql, now))?);
    }
    let found = choices.iter().filter(|choice| choice.promql.is_some()).count();
    if found == 0 {
        return Err(StepError::refused(format!(
            "`{url}` has none of the metrics of `{}`; it has {} others",
            shipped.name,
            facts.metrics.len()
        ))
        .hint(
            "check that it is the right server, and whether it needs a tenant in a header or a URL \
             parameter",
        ));
    }
    say(&format!("{found} of {} queries have data", choices.len()));
    let fit = Fit { name, source: &source, facts: &facts, choices: &choices, now, rate_window };
    Ok(fit.text(shipped.text, &document))
}

fn source(args: &InitArgs, url: &str, folder: &Path) -> Result<Http<PrometheusSource>, StepError> {
    let beside = |file: &Option<PathBuf>| -> Result<Option<PathBuf>, StepError> {
        let Some(file) = file else { return Ok(None) };
        let (file, folder) = (absolute(file)?, absolute(folder)?);
        Ok(Some(file.strip_prefix(&folder).map(Path::to_owned).unwrap_or(file)))
    };
    let url = url.parse().map_err(|error| {
        StepError::usage(format!("`--url` {error}"))
            .hint("write it as in --url http://localhost:9090")
    })?;
    let mut source = Http::new(url, PrometheusSource::default());
    let token = beside(&args.bearer_token_file)?;
    source.server.auth = token.map(|file| Auth::BearerToken(Secret::File(file)));
    source.server.tls.ca_file = beside(&args.ca_file)?;
    Ok(source)
}

/// Returns a window of four scrape intervals, as the Prometheus project recommends for `rate`.
fn rate_window(usual: Span, scrape_interval: Option<Span>) -> Span {
    let four = scrape_interval.map_or(Span::ZERO, |interval| Span::from_ms(4 * interval.ms()));
    usual.max(four)
}

/// Describes since when there are samples.
fn since(facts: &Facts, now: Timestamp) -> Option<String> {
    let begin = facts.begin?;
    Some(format!("samples since {begin} ({})", now - begin))
}
