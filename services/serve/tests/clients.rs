//! The clients that people use: tritonclient and kserve's, from `PyPI`.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::Path;
use std::process::Command;

use support::Server;

/// `LYNCEUS_TEST_PYTHON=off` leaves this out.
#[test]
fn clients_of_triton_and_kserve_get_their_answers() {
    if std::env::var_os("LYNCEUS_TEST_PYTHON").is_some_and(|value| value == "off") {
        return;
    }
    let serve = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found =
        Command::new(serve.join("../../tests/support/python.sh")).arg("--path").output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let python = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    let packages = Path::new(&python).ancestors().nth(2).unwrap().join("clients");
    let server = Server::start(true, &[]);
    let done = Command::new(&python)
        .env("PYTHONPATH", packages)
        .args(["-W", "ignore"])
        .arg(serve.join("tests/clients.py"))
        .arg(format!("http://{}", server.address))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("all clients agree"), "{said}");
}
