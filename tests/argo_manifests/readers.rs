//! The manifests as other programs read them: a YAML 1.1 parser, and hera's models of Argo.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use argo::yaml;
use serde_json::Value;

use super::{files, repository};

/// Models of Argo by hera's releases: 3.6, 3.7, and 4.0, which is the one that is installed. None has
/// those of 4.1 yet.
const ARGO: [Option<&str>; 3] = [Some("hera-5.20.0"), Some("hera-6.0.0"), None];

/// Returns the tests' Python with a script; nothing if `LYNCEUS_TEST_PYTHON` is `off`.
fn python(script: &str, models: Option<&str>) -> anyhow::Result<Option<Command>> {
    if std::env::var_os("LYNCEUS_TEST_PYTHON").is_some_and(|value| value == "off") {
        return Ok(None);
    }
    let found =
        Command::new(repository().join("tests/support/python.sh")).arg("--path").output()?;
    ensure!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr).trim());
    let program = String::from_utf8(found.stdout)?.trim().to_owned();
    let mut python = Command::new(&program);
    let folder = Path::new(&program).ancestors().nth(2).context("the environment's folder")?;
    python.envs(models.map(|models| ("PYTHONPATH", folder.join(models))));
    python.args(["-W", "ignore"]).arg(repository().join("tests/argo_manifests").join(script));
    Ok(Some(python))
}

/// Output of the other programs, and the text of each file.
type Read = (Output, Vec<(String, String)>);

/// Returns the errors of objects by the published schemas of Kubernetes; nothing if
/// `LYNCEUS_TEST_PYTHON` is `off`.
pub(super) fn refused_by_schema(objects: &[Value]) -> anyhow::Result<Option<String>> {
    let Some(mut python) = python("schemas.py", None)? else { return Ok(None) };
    let file = tempfile::NamedTempFile::new()?;
    fs_err::write(file.path(), serde_json::to_vec(objects)?)?;
    let done = python.arg(file.path()).output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(Some(String::from_utf8(done.stdout)?))
}

/// Writes manifests into a folder, with another field set, and runs the other readers.
fn read_by_others(
    folder: &Path,
    models: Option<&str>,
    set: &str,
    change: impl Fn(&str) -> String,
) -> anyhow::Result<Option<Read>> {
    let Some(mut python) = python("readers.py", models)? else { return Ok(None) };
    let mut texts = Vec::new();
    for file in files(&["labels.scenarios=logs/scenarios.csv", "description=yes", set])? {
        let (path, text) = (folder.join(file.name.replace('/', "-")), change(&file.text));
        fs_err::write(&path, &text)?;
        python.arg(&path);
        texts.push((path.display().to_string(), text));
    }
    Ok(Some((python.output()?, texts)))
}

#[test]
fn yaml_1_1_parser_and_hera_models_read_every_value_correctly() -> anyhow::Result<()> {
    let shards = ["shards.count=1", "shards.count=3"];
    for (models, set) in ARGO.into_iter().flat_map(|models| shards.map(|set| (models, set))) {
        let temp = tempfile::tempdir()?;
        let read = read_by_others(temp.path(), models, set, str::to_owned)?;
        let Some((done, texts)) = read else { return Ok(()) };
        assert!(done.status.success(), "{models:?}: {}", String::from_utf8_lossy(&done.stderr));
        let others: Value = serde_json::from_slice(&done.stdout)?;
        for (path, text) in texts {
            let own: Vec<Value> = yaml::documents(&text)
                .iter()
                .map(|(_, text)| yaml::read(text))
                .collect::<Result<_, _>>()?;
            assert_eq!(others[&path], Value::Array(own), "{path}");
        }
    }
    Ok(())
}

#[test]
fn the_schemas_of_kubernetes_accept_every_object() -> anyhow::Result<()> {
    let mut objects = Vec::new();
    for file in files(&super::TALKATIVE)? {
        for (_, text) in yaml::documents(&file.text) {
            let object: Value = yaml::read(&text)?;
            let version = object["apiVersion"].as_str().unwrap_or_default();
            let is_own = !version.starts_with("argoproj.io") && !version.contains("kustomize");
            objects.extend(is_own.then_some(object));
        }
    }
    let Some(said) = refused_by_schema(&objects)? else { return Ok(()) };
    assert_eq!(said, "");
    Ok(())
}

#[test]
fn fields_that_lint_knows_are_those_that_kubernetes_publishes() -> anyhow::Result<()> {
    let schemas = repository().join("crates/argo/schemas");
    let script = schemas.join("reduce.py");
    let Some(mut python) = python(script.to_str().context("a path of text")?, None)? else {
        return Ok(());
    };
    let found = Command::new(python.get_program())
        .args(["-c", "import kubernetes_validate as it; print(it.__path__[0])"])
        .output()?;
    let package = String::from_utf8(found.stdout)?;
    let published =
        Path::new(package.trim()).join("kubernetes-json-schema/v1.34.0-local/_definitions.json");
    let done = python.arg("--check").arg(schemas.join("fields.json")).arg(published).output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8(done.stdout)?;
    let count = said.strip_suffix(" definitions\n").and_then(|count| count.parse::<u32>().ok());
    assert!(count.is_some_and(|count| count > 200), "{said}");
    Ok(())
}

#[test]
fn hera_models_find_unknown_missing_and_mistyped_fields() -> anyhow::Result<()> {
    for (from, to, words) in [
        (
            "readOnlyRootFilesystem",
            "readOnlyRootFileSystem",
            "readOnlyRootFileSystem: no such field",
        ),
        ("parallelism: 4", "parallelism: '4'", "parallelism: '4' is read as 4"),
        (" name: work\n", " label: work\n", "Field required"),
    ] {
        let temp = tempfile::tempdir()?;
        let change = |text: &str| text.replace(from, to);
        let read = read_by_others(temp.path(), None, "shards.count=1", change)?;
        let Some((done, _)) = read else { return Ok(()) };
        assert_eq!(done.status.code(), Some(1), "{from}");
        let said = String::from_utf8(done.stderr)?;
        assert!(said.contains(words), "{words}: {said}");
    }
    Ok(())
}
