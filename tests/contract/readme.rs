//! The README says only what is so: its options exist, its rooms exist, its two commands are the ones that CI runs.

use std::{collections::BTreeSet, fs, process::Command};

use harness::{Machine, product_directory, repository};

fn read(name: &str) -> String {
    let file = repository().join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()))
}

/// Every `--option` in a text.
fn options(text: &str) -> BTreeSet<String> {
    let is_option_character = |c: char| c.is_ascii_lowercase() || c == '-';
    text.match_indices("--")
        .filter(|(at, _)| !text[..*at].ends_with('-') && !text[..*at].ends_with(is_option_character))
        .map(|(at, _)| {
            let rest = &text[at..];
            rest[..rest.find(|c| !is_option_character(c)).unwrap_or(rest.len())].to_owned()
        })
        // Dashes alone are the rule of a table.
        .filter(|option| option.contains(|c: char| c.is_ascii_lowercase()))
        .collect()
}

fn help() -> String {
    let _machine = Machine::shared();
    let output = Command::new(product_directory().join("supervise")).arg("--help").output();
    let output = output.expect("supervise --help can be run");
    assert!(output.status.success(), "--help: {}", output.status);
    String::from_utf8(output.stdout).expect("--help is text")
}

#[test]
fn every_option_of_supervise_that_the_readme_names_exists() {
    // Options of cargo, pip and curl, which the README also runs.
    const OF_OTHERS: [&str; 7] =
        ["--release", "--workspace", "--target-dir", "--bin", "--test", "--smoke", "--help"];
    let known = options(&help());
    let named: Vec<_> =
        options(&read("README.md")).into_iter().filter(|it| !OF_OTHERS.contains(&it.as_str())).collect();
    assert!(named.len() >= 5, "the README names options: {named:?}");
    let unknown: Vec<_> = named.iter().filter(|option| !known.contains(*option)).collect();
    assert!(unknown.is_empty(), "not in --help: {unknown:?}\nknown: {known:?}");
}

#[test]
fn the_short_help_fits_a_screen_and_each_option_says_something() {
    let _machine = Machine::shared();
    let output = Command::new(product_directory().join("supervise")).arg("-h").output();
    let text = String::from_utf8(output.expect("supervise -h can be run").stdout).expect("-h is text");
    for option in ["--worker-class", "--workers", "--bind", "--timeout", "--metrics", "--config"] {
        let line = text.lines().find(|line| line.contains(option));
        let line = line.unwrap_or_else(|| panic!("-h names {option}:\n{text}"));
        assert!(line.split_whitespace().count() >= 4, "-h explains {option}: {line:?}");
    }
}

#[test]
fn the_two_commands_are_there_to_the_letter() {
    let readme = read("README.md");
    for command in [
        "cargo build --release && ./target/release/supervise --worker-class async --workers $(nproc)\n",
        "cargo build --release -p worker-python && ./target/release/supervise --worker-class async --workers $(nproc) myapp:app\n",
        "cargo test --workspace\n",
    ] {
        assert!(readme.contains(command), "the README has {command:?}");
    }
    assert!(read(".ci/run").contains("cargo test --workspace"), "CI runs the second command");
}

#[test]
fn every_room_of_the_code_map_exists() {
    let readme = read("README.md");
    let map = readme.split("## Code map").nth(1).expect("the README has a code map");
    let block = map.split("```").nth(1).expect("the map is a block");
    let rooms: Vec<_> = block.lines().filter_map(|line| line.split_once('/').map(|_| line)).collect();
    assert!(rooms.len() >= 8, "the map has rooms: {rooms:?}");
    for line in rooms {
        let room = line.split_whitespace().next().expect("a line has a first word");
        assert!(repository().join(room).is_dir(), "{room} is a directory");
    }
}

#[test]
fn the_tables_name_every_signal_and_exit_code_of_the_contract() {
    let readme = read("README.md");
    let section = |title: &str| {
        let after = readme.split(&format!("## {title}")).nth(1);
        let after = after.unwrap_or_else(|| panic!("the README has a section {title}"));
        after.split("\n## ").next().unwrap_or_default().to_owned()
    };
    let codes = section("Exit codes");
    for code in ["0", "1", "2", "3", "4", "66", "69", "71", "77", "78"] {
        assert!(codes.contains(&format!("| {code} |")), "the table has exit code {code}");
    }
    let signals = section("Signals");
    for signal in ["HUP", "TERM", "INT, QUIT", "TTIN", "TTOU"] {
        assert!(signals.contains(&format!("| {signal} |")), "the table has {signal}");
    }
}
