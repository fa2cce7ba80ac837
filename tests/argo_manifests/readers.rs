//! The manifests as other programs read them: a YAML 1.1 parser, and hera's models of Argo.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::ensure;
use pipelines::argo::yaml;
use serde_json::Value;

use super::{files, repository};

/// Returns the tests' Python; nothing if `LYNCEUS_TEST_PYTHON` is `off`.
fn python() -> anyhow::Result<Option<Command>> {
    if std::env::var_os("LYNCEUS_TEST_PYTHON").is_some_and(|value| value == "off") {
        return Ok(None);
    }
    let found =
        Command::new(repository().join("tests/support/python.sh")).arg("--path").output()?;
    ensure!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr).trim());
    let mut python = Command::new(String::from_utf8(found.stdout)?.trim());
    python.args(["-W", "ignore"]).arg(repository().join("tests/argo_manifests/readers.py"));
    Ok(Some(python))
}

/// What the others said, and the text of each file.
type Read = (Output, Vec<(String, String)>);

/// Writes manifests into a folder and has them read.
fn read_by_others(folder: &Path, change: impl Fn(&str) -> String) -> anyhow::Result<Option<Read>> {
    let Some(mut python) = python()? else { return Ok(None) };
    let mut texts = Vec::new();
    for file in files(&["labels.scenarios=logs/scenarios.csv", "description=yes"])? {
        let (path, text) = (folder.join(file.name.replace('/', "-")), change(&file.text));
        fs_err::write(&path, &text)?;
        python.arg(&path);
        texts.push((path.display().to_string(), text));
    }
    Ok(Some((python.output()?, texts)))
}

#[test]
fn a_yaml_1_1_parser_and_heras_models_read_every_value_as_it_is_meant() -> anyhow::Result<()> {
    let temp = tempfile::tempdir()?;
    let Some((done, texts)) = read_by_others(temp.path(), str::to_owned)? else { return Ok(()) };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let others: Value = serde_json::from_slice(&done.stdout)?;
    for (path, text) in texts {
        let own: Vec<Value> = yaml::documents(&text)
            .iter()
            .map(|(_, text)| yaml::read(text))
            .collect::<Result<_, _>>()?;
        assert_eq!(others[&path], Value::Array(own), "{path}");
    }
    Ok(())
}

#[test]
fn what_argo_does_not_have_lacks_or_holds_as_another_type_is_seen_by_heras_models()
-> anyhow::Result<()> {
    for (from, to, words) in [
        (
            "readOnlyRootFilesystem",
            "readOnlyRootFileSystem",
            "readOnlyRootFileSystem: no such field",
        ),
        ("parallelism: 4", "parallelism: '4'", "parallelism: '4' is read as 4"),
        ("- name: work\n", "- label: work\n", "Field required"),
    ] {
        let temp = tempfile::tempdir()?;
        let change = |text: &str| text.replace(from, to);
        let Some((done, _)) = read_by_others(temp.path(), change)? else { return Ok(()) };
        assert_eq!(done.status.code(), Some(1), "{from}");
        let said = String::from_utf8(done.stderr)?;
        assert!(said.contains(words), "{words}: {said}");
    }
    Ok(())
}
