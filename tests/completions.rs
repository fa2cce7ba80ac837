//! Do the shells complete names of pipelines, runs and files, with the scripts that the program prints?

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

/// The typed line, and the line after the Tab key.
const CASES: [(&str, &str); 4] = [
    ("lynceus status nod", "lynceus status node"),
    ("lynceus runs show node prev", "lynceus runs show node previous"),
    ("lynceus --store elsewhere scores contai", "lynceus --store elsewhere scores container"),
    ("lynceus manif", "lynceus manifests"),
];

/// A folder with a document of each name, the program in `bin`, and the script of a shell.
struct Place(tempfile::TempDir);

impl Place {
    fn new(shell: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs_err::create_dir(folder.path().join("bin"))?;
        fs_err::os::unix::fs::symlink(
            env!("CARGO_BIN_EXE_lynceus"),
            folder.path().join("bin/lynceus"),
        )?;
        fs_err::create_dir(folder.path().join("pipelines"))?;
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["node", "container"] {
            let file = format!("{name}.yaml");
            fs_err::copy(shipped.join(&file), folder.path().join("pipelines").join(&file))?;
        }
        let place = Self(folder);
        let script = place.run(Command::new("lynceus").args(["completions", shell]))?;
        fs_err::write(place.script(), script)?;
        Ok(place)
    }

    fn script(&self) -> PathBuf {
        self.0.path().join("script")
    }

    /// Runs a command in the folder, which must succeed, and returns what it printed.
    fn run(&self, command: &mut Command) -> Result<String> {
        let mut path = self.0.path().join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(self.0.path()).env("PATH", path).env("HOME", self.0.path());
        command.env_remove("LYNCEUS_STORE").env_remove("LYNCEUS_PIPELINES");
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command:?}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[test]
fn bash_completes_names_of_pipelines_and_runs() -> Result<()> {
    let place = Place::new("bash")?;
    for (typed, expected) in CASES {
        let asked = "source ./script; read -ra COMP_WORDS <<<\"$1\"; \
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
            _lynceus_and_names lynceus \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; \
            echo \"${COMPREPLY[@]}\"";
        let said = place.run(Command::new("bash").args(["--norc", "-c", asked, "bash", typed]))?;
        let word = expected.rsplit(' ').next().unwrap_or_default();
        ensure!(said.split_whitespace().eq([word]), "`{typed}` gives {said:?}");
    }
    Ok(())
}

/// Types a line and the Tab key into a shell in a terminal, and prints the line.
const TYPED_INTO_ZSH: &str = r#"
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1= PS2= RPS1=; stty -echo; bindkey -e; autoload -Uz compinit; compinit -u -D; source ./script; print -r -- BEG''IN"
zpty -r shell said '*BEGIN*'
zpty -n -w shell "$1"$'\t\C-aprint -r -- LINE: \C-e; print -r -- EN\'\'D\n'
zpty -r shell said '*END*'
zpty -d shell
print -r -- "$said"
"#;

#[test]
fn zsh_completes_names_of_pipelines_and_runs() -> Result<()> {
    let place = Place::new("zsh")?;
    for (typed, expected) in CASES {
        let said =
            place.run(Command::new("zsh").args(["-f", "-c", TYPED_INTO_ZSH, "zsh", typed]))?;
        let line = format!("LINE: {expected}");
        ensure!(
            said.lines().any(|shown| shown.trim_end() == line),
            "`{typed}` gives {said:?}, not {line:?}"
        );
    }
    Ok(())
}

#[test]
fn fish_completes_names_of_pipelines_and_runs() -> Result<()> {
    let place = Place::new("fish")?;
    for (typed, expected) in CASES {
        let asked = format!("source ./script; complete -C '{typed}'");
        let said = place.run(Command::new("fish").args(["--no-config", "-c", &asked]))?;
        let word = expected.rsplit(' ').next().unwrap_or_default();
        let offered: Vec<&str> = said.lines().filter_map(|line| line.split('\t').next()).collect();
        ensure!(offered == [word], "`{typed}` gives {said:?}");
    }
    Ok(())
}
