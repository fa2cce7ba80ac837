//! Names that a shell completes: pipelines, runs and versions, depending on the preceding words.

use std::path::Path;

use clap_complete::Shell;
use contract::StepError;
use store::Registry;

use super::context::StorePlace;
use super::{Global, OutputFormat, print, print_json};
use crate::find;

/// Flags of `lynceus names`.
#[derive(Debug, clap::Args)]
pub(crate) struct NamesArgs {
    /// The words of the command line between `lynceus` and the word that is completed
    #[arg(value_name = "WORD", allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Kind of the next word of a command line.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Pipeline,
    Run(String),
    Version(String),
    Nothing,
}

/// Commands whose first argument is a pipeline and whose other arguments are not completed.
const OF_PIPELINE: [&str; 14] = [
    "run", "record", "score", "watch", "messages", "scores", "status", "evaluate", "report",
    "plan", "serve", "replay", "document", "predict",
];

/// Returns the kind of the word after some words.
fn next(words: &[&str]) -> Next {
    match words {
        [command] if OF_PIPELINE.contains(command) => Next::Pipeline,
        ["manifests", ..]
        | ["compare" | "explain"]
        | ["runs" | "models" | "source" | "entities" | "containers", _]
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

/// The parts of a command line so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Line<'a> {
    /// Commands and arguments, without flags and their values.
    words: Vec<&'a str>,
    store: Option<&'a str>,
    pipelines: Option<&'a str>,
}

/// Reads the words before the one that is completed. `commands` defines which flags take a value.
fn read<'a>(commands: &clap::Command, line: &'a [String]) -> Line<'a> {
    let (mut read, mut command) = (Line::default(), commands);
    let mut words = line.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--") else {
            if word.starts_with('-') {
                continue;
            }
            command = command.find_subcommand(word).unwrap_or(command);
            read.words.push(word);
            continue;
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        let mut known = command.get_arguments().chain(commands.get_arguments());
        let takes_value = known
            .find(|flag| flag.get_long() == Some(name))
            .is_some_and(|flag| flag.get_action().takes_values());
        let value = value.or_else(|| if takes_value { words.next() } else { None });
        match name {
            "store" => read.store = value,
            "pipelines" => read.pipelines = value,
            _ => {}
        }
    }
    read
}

pub(crate) fn execute(
    global: &Global,
    args: &NamesArgs,
    commands: &clap::Command,
) -> Result<(), StepError> {
    let Line { words, store, pipelines } = read(commands, &args.words);
    let place = StorePlace::new(store.unwrap_or(&global.store))?;
    let folder = pipelines.map_or(global.pipelines.as_path(), Path::new);
    let mut names: Vec<String> = match next(&words) {
        Next::Nothing => Vec::new(),
        Next::Pipeline => {
            let mut names = find::names(folder);
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

/// Extends the generated completion script of a shell so that it also completes names.
pub(crate) fn script(shell: Shell, generated: &str) -> String {
    match shell {
        Shell::Bash => format!("{generated}{BASH}"),
        Shell::Fish => format!("{generated}{FISH}"),
        Shell::Zsh => zsh(generated),
        _ => generated.to_owned(),
    }
}

/// Makes each argument that is not a flag complete names first.
fn zsh(generated: &str) -> String {
    let mut script = String::with_capacity(generated.len() + ZSH.len());
    for line in generated.split_inclusive('\n') {
        if line.starts_with("autoload ") {
            script.push_str(ZSH);
        }
        let is_argument = ["':", "'*:"].iter().any(|begin| line.starts_with(begin));
        let asked = is_argument.then(|| line.replace(":_default'", ":_lynceus_names'"));
        script.push_str(asked.as_deref().unwrap_or(line));
    }
    script
}

const BASH: &str = r#"
# Names of pipelines, runs and versions.
_lynceus_and_names() {
    _lynceus "$@"
    local cur="${COMP_WORDS[COMP_CWORD]}" words=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
    [[ "$cur" == -* ]] && return
    COMPREPLY+=($(compgen -W "$("${COMP_WORDS[0]}" names -- "${words[@]}" 2>/dev/null)" -- "$cur"))
}
complete -F _lynceus_and_names -o bashdefault -o default lynceus
"#;

// fish 3 and 4 support `-o`.
const FISH: &str = r"
# Names of pipelines, runs and versions.
complete -c lynceus -a '(lynceus names -- (commandline -opc)[2..-1] 2>/dev/null)'
";

// `words` no longer contains the commands when an argument is completed, so the line itself is
// split.
const ZSH: &str = r#"# Names of pipelines, runs and versions; else files.
_lynceus_names() {
    local -a typed names
    typed=(${(z)LBUFFER})
    [[ "$LBUFFER" == *[[:space:]] ]] || typed[-1]=()
    local at=${typed[(I)(*/|)lynceus]}
    names=(${(f)"$(command ${(Q)typed[at]:-lynceus} names -- "${(Q@)typed[at+1,-1]}" 2>/dev/null)"})
    if (( $#names )); then
        _describe -t names 'name' names
    else
        _default "$@"
    fi
}

"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion_depends_on_previous_words() {
        let of = |line: &str| next(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(of("status"), Next::Pipeline);
        assert_eq!(of("runs show"), Next::Pipeline);
        assert_eq!(of("runs show cluster"), Next::Run("cluster".into()));
        assert_eq!(of("compare cluster last"), Next::Run("cluster".into()));
        assert_eq!(of("models promote node"), Next::Version("node".into()));
        assert_eq!(of("status cluster"), Next::Nothing);
        assert_eq!(of(""), Next::Nothing);
    }

    #[test]
    fn flags_and_their_values_are_no_words_of_the_line() {
        use clap::CommandFactory as _;
        let line = ["--store", "s3://b", "run", "--output=json", "--verbose", "node"];
        let line = line.map(str::to_owned);
        let read = read(&crate::cli::Cli::command(), &line);
        assert_eq!(read.store, Some("s3://b"));
        assert_eq!(read.words, ["run", "node"]);
    }
}
