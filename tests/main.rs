//! Tests of the whole product: the real program, real data, real servers. Each module answers one
//! question.

mod agent;
mod argo_emulation;
mod argo_manifests;
mod broken_runs;
mod bucket;
mod chaos_mesh;
mod chaos_workflow;
mod classify_run;
mod command_line;
mod completions;
mod compose;
mod database;
mod documentation;
mod extensions;
mod feature_catalogue;
mod field_cases;
mod for_people;
mod hosts;
mod json_output;
mod kill_and_resume;
mod kubernetes;
mod nodes;
mod notebook;
mod old_stores;
mod readme;
mod report_page;
mod scenario_check;
mod scenarios;
mod score_faults;
mod score_minute;
mod shards;
mod source_check;
mod steps;
mod tables;
mod tracking;
mod train_run;
mod workspace;

#[path = "support/postgres.rs"]
mod database_server;
#[path = "support/fault_proxy.rs"]
mod fault_proxy;
#[path = "support/minio.rs"]
mod minio;
#[path = "support/mlflow.rs"]
mod mlflow;
#[path = "support/prometheus.rs"]
mod prometheus;

/// A test file that is not listed here does not run.
#[test]
fn every_file_of_tests_is_listed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
    let listed = include_str!("main.rs");
    for entry in fs_err::read_dir(folder).expect("the folder is there") {
        let name = entry.expect("it can be listed").file_name().to_string_lossy().into_owned();
        let module = name.strip_suffix(".rs").filter(|module| *module != "main");
        if let Some(module) = module {
            assert!(
                listed.contains(&format!("mod {module};")),
                "tests/main.rs does not list {module}"
            );
        }
    }
}
