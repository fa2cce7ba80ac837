//! Names that a shell completes: pipelines, runs and versions, as the words before them ask for.

use clap_complete::Shell;
use contract::StepError;
use store::Registry;

use super::context::StorePlace;
use super::{Global, OutputFormat, print, print_json};
use crate::find;

/// Flags of `lynceus names`.
#[derive(Debug, clap::Args)]
pub(crate) struct NamesArgs {
    /// The words of the command line before the one that is completed, without flags
    #[arg(value_name = "WORD")]
    words: Vec<String>,
}

/// What comes next in a command line.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Pipeline,
    Run(String),
    Version(String),
    Nothing,
}

/// Commands whose first word is a pipeline and that take nothing else by name.
const OF_PIPELINE: [&str; 14] = [
    "run", "record", "score", "watch", "messages", "scores", "status", "evaluate", "report",
    "plan", "serve", "replay", "document", "predict",
];

/// Returns what comes after some words.
fn next(words: &[&str]) -> Next {
    match words {
        [command] if OF_PIPELINE.contains(command) => Next::Pipeline,
        ["manifests", ..]
        | ["compare" | "explain"]
        | ["runs" | "models" | "source" | "entities", _]
        | ["features", "publish" | "backfill"] => Next::Pipeline,
        ["compare", pipeline, ..] | ["explain", pipeline] | ["runs", "show", pipeline] => {
            Next::Run((*pipeline).to_owned())
        }
        ["models", "show" | "promote", pipeline] | ["models", "compare", pipeline, ..] => {
            Next::Version((*pipeline).to_owned())
        }
        _ => Next::Nothing,
    }
}

pub(crate) fn execute(global: &Global, args: &NamesArgs) -> Result<(), StepError> {
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    let place = StorePlace::new(&global.store)?;
    let mut names: Vec<String> = match next(&words) {
        Next::Nothing => Vec::new(),
        Next::Pipeline => {
            let mut names = find::names(&global.pipelines);
            names.extend(place.pipelines()?);
            names
        }
        Next::Run(pipeline) => {
            let runs = place.runs(&pipeline)?.into_iter().map(|(_, record)| record.run);
            ["last", "previous"].map(str::to_owned).into_iter().chain(runs).collect()
        }
        Next::Version(pipeline) => {
            let store = place.open()?;
            let (versions, _) = Registry::new(store.as_ref(), &pipeline).latest_versions(20)?;
            ["live", "shadow"].map(str::to_owned).into_iter().chain(versions).collect()
        }
    };
    names.sort();
    names.dedup();
    if global.output() == OutputFormat::Json {
        return print_json(&names);
    }
    let end = if names.is_empty() { "" } else { "\n" };
    print(&format!("{}{end}", names.join("\n")))
}

/// Returns what a shell needs beside the generated script to complete names.
pub(crate) fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => BASH,
        Shell::Fish => FISH,
        _ => "",
    }
}

const BASH: &str = r#"
# Names of pipelines, runs and versions.
_lynceus_and_names() {
    _lynceus "$@"
    local cur="${COMP_WORDS[COMP_CWORD]}" word words=()
    [[ "$cur" == -* ]] && return
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ "$word" == -* ]] || words+=("$word")
    done
    COMPREPLY+=($(compgen -W "$("${COMP_WORDS[0]}" names -- "${words[@]}" 2>/dev/null)" -- "$cur"))
}
complete -F _lynceus_and_names -o bashdefault -o default lynceus
"#;

const FISH: &str = r"
# Names of pipelines, runs and versions.
complete -c lynceus -a '(lynceus names -- (commandline -xpc)[2..-1] 2>/dev/null)'
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_before_say_what_comes_next() {
        let of = |line: &str| next(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(of("status"), Next::Pipeline);
        assert_eq!(of("runs show"), Next::Pipeline);
        assert_eq!(of("runs show cluster"), Next::Run("cluster".into()));
        assert_eq!(of("compare cluster last"), Next::Run("cluster".into()));
        assert_eq!(of("models promote node"), Next::Version("node".into()));
        assert_eq!(of("status cluster"), Next::Nothing);
        assert_eq!(of(""), Next::Nothing);
    }
}
