//! Pages that say which test shows what: `TARGET path::function` for one below tests/, `module::tests::function` for one
//! of src/, or `FILE::function`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::page::{Page, root};

/// A test that a page names.
pub struct Named {
    pub line: usize,
    text: String,
    /// The file that it is in, or a folder around that.
    source: PathBuf,
    function: String,
}

/// The tests that a page names.
pub fn named(page: &Page) -> Vec<Named> {
    page.code_spans().into_iter().filter_map(|(line, text)| parse(line, text)).collect()
}

/// What is named and is nowhere, with its place.
pub fn missing(page: &Page) -> Vec<String> {
    let is_there = |test: &Named| holds(&test.source, &format!("fn {}(", test.function));
    let tests = named(page).into_iter().filter(|test| !is_there(test));
    tests.map(|test| format!("{}:{}: there is no test {}", page.name, test.line, test.text)).collect()
}

fn parse(line: usize, text: String) -> Option<Named> {
    let is_word = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let (source, path) = match text.split_once(' ') {
        Some((target, path)) if is_word(target) => (root().join("tests").join(target), path),
        None if text.contains(".rs::") => {
            let (file, path) = text.split_once("::")?;
            (root().join(file), path)
        }
        None if text.contains("::tests::") => (root().join("src"), text.as_str()),
        _ => return None,
    };
    let is_path = path.contains('_') && path.split("::").all(|part| !part.is_empty() && is_word(part));
    let function = path.rsplit("::").next()?.to_owned();
    is_path.then_some(Named { line, text, source, function })
}

fn holds(source: &Path, text: &str) -> bool {
    if source.is_dir() {
        fs::read_dir(source).unwrap().any(|entry| holds(&entry.unwrap().path(), text))
    } else {
        fs::read_to_string(source).is_ok_and(|source| source.contains(text))
    }
}
