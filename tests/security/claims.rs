//! Each claim of docs/security.md names a test, and the test is there.

use std::{fs, path::Path};

#[test]
fn every_claim_names_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut count = 0;
    for (index, line) in page.lines().enumerate() {
        let mut tests = 0;
        for (file, name) in line.split('`').skip(1).step_by(2).filter_map(|word| word.split_once("::")) {
            let text = fs::read_to_string(root.join(file)).unwrap_or_default();
            assert!(
                text.contains(&format!("fn {name}(")),
                "line {}: there is no {name} in {file}",
                index + 1
            );
            tests += 1;
        }
        let is_claim = line.starts_with("- ") && !line.contains("can't");
        assert!(!is_claim || tests > 0, "line {} claims something without a test: {line}", index + 1);
        count += tests;
    }
    assert!(count >= 40, "only {count} tests are named");
}
