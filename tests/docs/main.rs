//! The pages: the commands in them run and print what they say, their configurations are read, their links lead
//! somewhere, and no option is left out.

mod commands;
mod named_tests;
mod page;
mod session;

use std::{fs, path::Path};

use clap::CommandFactory;
use page::{Block, Page};
use pipeline_lock::{
    cli::Cli,
    config::{Config, Environment, Source},
};

#[test]
fn documented_commands_print_what_the_page_says() {
    let mut wrong = Vec::new();
    for page in Page::all() {
        wrong.extend(commands::check(&page));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn documented_configurations_are_read() {
    let mut count = 0;
    for page in Page::all() {
        for block in page.blocks.iter().filter(|block| block.is_config()) {
            let environment = Environment { home: Some("/home/u".into()), ..Environment::default() };
            let read = Config::parse(&block.text, Source::BuiltIn, &environment);
            assert!(read.is_ok(), "{}:{}: {}", page.name, block.line, read.unwrap_err());
            count += 1;
        }
    }
    assert!(count >= 3, "only {count} configurations were found");
}

#[test]
fn links_between_pages_lead_somewhere() {
    for page in Page::all() {
        for (line, target) in page.links() {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() { page.path.clone() } else { page.folder().join(file) };
            assert!(path.exists(), "{}:{line}: {target} leads nowhere", page.name);
            let known = anchor.is_empty() || Page::read(&path).anchors().contains(&anchor.to_owned());
            assert!(known, "{}:{line}: there is no heading for {target}", page.name);
        }
    }
}

#[test]
fn the_tests_that_pages_name_are_there() {
    let wrong: Vec<_> = Page::all().iter().flat_map(named_tests::missing).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    for (page, count) in [("promises", 50), ("security", 40)] {
        let page = Page::read(&page::root().join(format!("docs/{page}.md")));
        assert!(named_tests::named(&page).len() >= count, "{}", page.name);
    }
}

#[test]
fn each_claim_of_the_page_of_security_names_a_test() {
    let page = Page::read(&page::root().join("docs/security.md"));
    let shown: Vec<usize> = named_tests::named(&page).iter().map(|test| test.line).collect();
    let is_claim = |text: &str| text.starts_with("- ") && !text.contains("can't");
    for (line, text) in page.prose() {
        assert!(!is_claim(text) || shown.contains(&line), "{}:{line} has no test: {text}", page.name);
    }
}

#[test]
fn every_command_and_option_is_on_the_page_of_the_command_line() {
    let page = fs::read_to_string(page::root().join("docs/command-line.md")).unwrap();
    let mut commands: Vec<clap::Command> = Cli::command().get_subcommands().cloned().collect();
    while let Some(command) = commands.pop() {
        if command.is_hide_set() || command.get_name() == "help" {
            continue;
        }
        assert!(page.contains(command.get_name()), "`{}` is not on the page", command.get_name());
        for option in command.get_arguments().filter_map(clap::Arg::get_long) {
            let known = page.contains(&format!("--{option}"));
            assert!(known, "`{} --{option}` is not on the page", command.get_name());
        }
        commands.extend(command.get_subcommands().cloned());
    }
}

#[test]
fn the_policies_for_aws_are_json_and_allow_nothing_but_dynamodb() {
    let mut count = 0;
    for entry in fs::read_dir(page::root().join("executor-config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            check_policy(&path);
            count += 1;
        }
    }
    assert_eq!(count, 3);
}

fn check_policy(path: &Path) {
    let policy: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    for statement in policy["Statement"].as_array().unwrap() {
        let resource = statement["Resource"].as_str().unwrap();
        assert!(resource.contains(":table/"), "{}: {resource} is more than a table", path.display());
        let actions = &statement["Action"];
        let actions = actions.as_array().cloned().unwrap_or_else(|| vec![actions.clone()]);
        for action in actions {
            let name = action.as_str().unwrap().strip_prefix("dynamodb:").unwrap_or_default();
            assert!(!name.is_empty() && !name.contains('*'), "{}: {action}", path.display());
        }
    }
}

impl Block {
    fn is_config(&self) -> bool {
        self.kind == "yaml config"
    }
}
