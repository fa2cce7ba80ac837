//! Differences between runs, as a separate page and on the page of one of them.

mod html;
mod made;

use html::Parsed;
use made::{Made, overwrite};
use serde_json::json;

/// Two runs, of which the second has another threshold in its document.
fn two_thresholds() -> anyhow::Result<(Made, Made)> {
    let (one, other) = (Made::new(&[""])?, Made::new(&[""])?);
    let document = fs_err::read_to_string(other.path("run/document.yaml"))?;
    let document = document.replace("z_score: {}", "z_score: {threshold: 4.0}");
    overwrite(&other.path("run/document.yaml"), document.as_bytes())?;
    Ok((one, other))
}

#[test]
fn comparison_page_lists_differences_of_runs() {
    let (one, other) = two_thresholds().unwrap();
    let (a, b) = (one.path("run"), other.path("run"));
    let later = one.later().unwrap();
    let compared = report::compare(&[&a, &b], &[&later]).unwrap();
    let json = compared.json();
    let documents = json["documents"].as_array().unwrap();
    assert_eq!(documents.len(), 1, "{documents:?}");
    assert_eq!(documents[0], json!({"what": "models.z_score.threshold", "a": "3.0", "b": "4.0"}));
    assert_eq!(json["figures"][0]["b_difference"], json!(0.0));
    assert_eq!(json["figures"][0]["b_meaning"], json!("the same"));
    let recall = json["later"].as_array().unwrap().iter().find(|row| row["figure"] == "recall");
    let recall = recall.unwrap();
    assert_eq!(
        (&recall["a"]["value"], &recall["b_meaning"]),
        (&recall["b"]["value"], &json!("the same"))
    );
    let fault = &json["faults"][1];
    assert_eq!((&fault["a"], &fault["b_change"]), (&json!(60.0), &json!("the same")));
    assert_eq!(json["faults"][0]["b_change"], json!("not found by either"));
    let page = compared.html();
    Parsed::of(&page).check();
    let text = Parsed::of(&page).text();
    assert!(text.contains("models.z_score.threshold 3.0 4.0"), "{text}");
    assert!(
        text.contains("The documents differ in one field: models.z_score.threshold."),
        "{text}"
    );
    assert!(text.contains("A finds 1 and B 1 of 2 labelled faults"), "{text}");
    for few in [&[&*a][..], &[&*a; 7]] {
        assert_eq!(report::compare(few, &[]).unwrap_err().kind.exit_code(), 2);
    }
    fs_err::remove_file(one.path("run/validate/validation.json")).unwrap();
    fs_err::remove_dir_all(one.path("run/select")).unwrap();
    let compared = report::compare(&[&a, &b], &[&later]).unwrap();
    Parsed::of(&compared.html()).check();
    assert!(compared.summary.contains("Not every run produced a bundle"), "{}", compared.summary);
}

#[test]
fn page_lists_differences_from_previous_run() {
    let (before, now) = two_thresholds().unwrap();
    let before = before.path("run").display().to_string();
    let page = now.page(&["--run", "run", "--previous", &before]).unwrap();
    let parsed = Parsed::of(&page);
    parsed.check();
    let text = parsed.text();
    assert!(text.contains("models.z_score.threshold 3.0 4.0"), "{text}");
    assert!(text.contains("no feature has moved far"), "{text}");
    let page = now.page(&["--run", "run", "--previous", "run"]).unwrap();
    assert!(Parsed::of(&page).text().contains("Its document equals that of the previous run"));
}
