//! The command line as other servers spell it: `--no-proxy-headers` for `--proxy-headers=false`, of every switch. Before clap sees it.

use std::ffi::OsString;

use clap::CommandFactory;

use crate::cli::Cli;

/// What the value of a switch is called in the help.
const SWITCH: &str = "true|false";

/// Replaces `--no-x` by `--x=false` where `x` is a switch; what follows `--` is the application's.
pub fn ours(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let command = Cli::command();
    let switches: Vec<&str> = command
        .get_arguments()
        .filter(|argument| {
            argument.get_value_names().is_some_and(|names| names.iter().any(|name| name == SWITCH))
        })
        .filter_map(clap::Arg::get_long)
        .collect();
    let mut is_over = false;
    arguments
        .map(|argument| {
            is_over |= argument == "--";
            let negated = argument.to_str().and_then(|text| text.strip_prefix("--no-"));
            match negated {
                Some(name) if !is_over && switches.contains(&name) => format!("--{name}=false").into(),
                Some(_) | None => argument,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::ours;

    #[test]
    fn switches_can_be_negated() {
        let given = ["supervise", "--no-proxy-headers", "--no-such-thing", "--", "--no-proxy-headers"];
        let read = ours(given.into_iter().map(Into::into));
        assert_eq!(
            read,
            ["supervise", "--proxy-headers=false", "--no-such-thing", "--", "--no-proxy-headers"]
        );
    }
}
