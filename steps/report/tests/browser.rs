//! Pages in a real browser, as narrow as a phone and as wide as a desktop, light and dark.

mod made;

#[path = "../../../tests/support/browser.rs"]
mod browser;

use browser::{check, wanted};
use made::Made;

#[test]
fn a_run_and_its_scores_fit_every_screen_and_can_be_read() {
    if !wanted() {
        return;
    }
    let made = Made::new(&[""]).unwrap();
    check(&made.whole_page().unwrap()).unwrap();
}

#[test]
fn a_hundred_entities_with_long_names_fit_every_screen() {
    if !wanted() {
        return;
    }
    let name = |number| format!("a-namespace-of-some-length/a-workload-56f686d7fc-{number:05}");
    let names: Vec<String> = (0..100).map(name).collect();
    let made = Made::new(&names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    check(&made.whole_page().unwrap()).unwrap();
}

#[test]
fn page_measurement_finds_overflow_and_low_contrast() {
    if !wanted() {
        return;
    }
    let made = Made::new(&[""]).unwrap();
    let page = made.page(&["--run", "run"]).unwrap();
    for (rule, trouble) in [
        ("h1{width:2000px}", "sticks_out"),
        (".made{color:#999}@media (prefers-color-scheme:dark){.made{color:#555}}", "pale"),
        ("svg text{font-size:14px!important}", "small"),
        (".s0{stroke:#ddd}@media (prefers-color-scheme:dark){.s0{stroke:#222}}", "faint"),
        (":focus-visible{outline:none}", "order"),
    ] {
        let worse = page.replace("</style>", &format!("{rule}</style>"));
        let error = check(&worse).unwrap_err().to_string();
        assert!(error.contains(trouble) || error.contains("nothing scrolls"), "{rule}: {error}");
    }
}
