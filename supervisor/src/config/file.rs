//! The YAML file: text in, one layer of settings out, and for each mistake the line, a caret and a suggestion.
//! The only file that names serde_yaml, so that another parser is a change of this file.

use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_path_to_error::Segment;
use serde_yaml::Value;

use super::raw::RawSettings;
use crate::error::{ExitStatus, Expected, ExpectedError, Place};

/// Reads the settings out of `text`; `name` is the file as the user wrote it.
///
/// # Errors
/// Exit 78, with the place, for YAML that is wrong, an unknown key or a value that its setting does not take.
pub fn parse(name: &Path, text: &str) -> Expected<RawSettings> {
    let source = Source { name: name.display().to_string(), text };
    let mut tree: Value = serde_yaml::from_str(text).map_err(|error| source.syntax_error(&error))?;
    tree.apply_merge().map_err(|error| source.syntax_error(&error))?;
    let Value::Mapping(mut settings) = tree else {
        return if tree.is_null() { Ok(RawSettings::default()) } else { Err(source.no_mapping()) };
    };
    let known = RawSettings::names();
    // Keys that begin with x- are the user's own, as in compose files: holders of anchors.
    settings.retain(|key, _| !key.as_str().is_some_and(|key| key.starts_with("x-")));
    for key in settings.keys() {
        match key.as_str() {
            Some(key) if known.iter().any(|name| name == key) => {}
            Some(key) => return Err(source.unknown_key(key, &known)),
            None => return Err(source.no_mapping()),
        }
    }
    settings.retain(|_, value| !value.is_null());
    serde_path_to_error::deserialize(Value::Mapping(settings)).map_err(|error| source.wrong_value(&error))
}

/// The text and its name, for pointing into it.
struct Source<'a> {
    name: String,
    text: &'a str,
}

impl Source<'_> {
    fn syntax_error(&self, error: &serde_yaml::Error) -> ExpectedError {
        // serde_yaml appends the place to its sentence; the caret shows it.
        let full = error.to_string();
        let sentence = full.split(" at line ").next().unwrap_or(&full);
        let wrong = ExpectedError::new(
            "config/syntax",
            ExitStatus::BadConfig,
            format!("{} is no good YAML: {sentence}", self.name),
        );
        let twice = sentence.strip_prefix("duplicate entry with key ").map(|key| key.trim_matches('"'));
        if let Some((key, (line, column))) = twice.and_then(|key| Some((key, self.keys_named(key).nth(1)?))) {
            return wrong.at(self.place(line, column, key.chars().count(), "for the second time".to_owned()));
        }
        let wrong = match error.location() {
            Some(at) => wrong.at(self.place(at.line(), at.column(), 1, String::new())),
            None => wrong,
        };
        if self.text.lines().any(|line| line.trim_start_matches(' ').starts_with('\t')) {
            wrong.help("YAML does not indent with tabs: use spaces")
        } else {
            wrong
        }
    }

    fn no_mapping(&self) -> ExpectedError {
        let message = format!("{} must be a list of `setting: value` lines", self.name);
        ExpectedError::new("config/shape", ExitStatus::BadConfig, message).help("for example `workers: 4`")
    }

    fn unknown_key(&self, key: &str, known: &[String]) -> ExpectedError {
        let error = ExpectedError::new(
            "config/unknown-key",
            ExitStatus::BadConfig,
            format!("unknown setting `{key}`"),
        )
        .help("`supervise --help` lists the settings; in YAML they have `_` for `-`");
        let remark = suggestion(key, known).map_or(String::new(), |name| format!("did you mean `{name}`?"));
        match self.keys_named(key).next() {
            Some((line, column)) => error.at(self.place(line, column, key.chars().count(), remark)),
            None if remark.is_empty() => error,
            None => error.help(remark),
        }
    }

    /// Where this key stands, as lines go: for keys that the tree has no place for.
    fn keys_named(&self, key: &str) -> impl Iterator<Item = (usize, usize)> {
        self.text.lines().enumerate().filter_map(move |(index, line)| {
            let bare = line.trim_start_matches([' ', '{', '"', '\'']);
            let rest = bare.strip_prefix(key)?.trim_start_matches(['"', '\'', ' ']);
            rest.starts_with(':').then_some((index + 1, line.len() - bare.len() + 1))
        })
    }

    fn wrong_value(&self, error: &serde_path_to_error::Error<serde_yaml::Error>) -> ExpectedError {
        let path: Vec<Step> = error.path().iter().filter_map(step).collect();
        let name = match path.first() {
            Some(Step::Key(key)) => key.clone(),
            Some(Step::Index(_)) | None => "?".to_owned(),
        };
        let sentence = format!("setting `{name}`: {}", error.inner());
        let wrong = ExpectedError::new("config/value", ExitStatus::BadConfig, sentence);
        match locate(self.text, &path) {
            Some((line, column)) => {
                wrong.at(self.place(line, column, self.width_at(line, column), String::new()))
            }
            None => wrong,
        }
    }

    /// How long the scalar at this place is: to the end of the line, without a comment.
    fn width_at(&self, line: usize, column: usize) -> usize {
        let text: String = self.line(line).chars().skip(column - 1).collect();
        text.split(" #").next().unwrap_or_default().trim_end().chars().count()
    }

    fn line(&self, line: usize) -> &str {
        self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default()
    }

    fn place(&self, line: usize, column: usize, width: usize, remark: String) -> Place {
        Place {
            file: self.name.clone(),
            line,
            column: column.max(1),
            source: self.line(line).to_owned(),
            width,
            remark,
        }
    }
}

/// The known name that is most like `name`, if one is like it at all.
pub(super) fn suggestion<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    // clap's own threshold for its did-you-mean.
    const ALIKE: f64 = 0.7;
    let name = name.replace('-', "_").to_ascii_lowercase();
    let scored = known.iter().map(|candidate| (strsim::jaro_winkler(&name, candidate), candidate));
    let best = scored.max_by(|left, right| left.0.total_cmp(&right.0))?;
    (best.0 > ALIKE).then_some(best.1.as_str())
}

/// One step on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

/// Line and column of the value at `path`. serde_yaml keeps no places in its tree, but a failing read names one: the text
/// is walked once more to the wanted value, where the walk fails on purpose. A value that came by a merge has no place.
fn locate(text: &str, path: &[Step]) -> Option<(usize, usize)> {
    let failed = Walk { path }.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    if !failed.to_string().contains(ARRIVED) {
        return None;
    }
    failed.location().map(|at| (at.line(), at.column()))
}

const ARRIVED: &str = "arrived at the wanted value";

struct Walk<'p> {
    path: &'p [Step],
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(ARRIVED)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), rest)) = self.path.split_first() else {
            return Err(A::Error::custom(ARRIVED));
        };
        while let Some(key) = map.next_key::<Value>()? {
            if key.as_str() == Some(wanted) {
                map.next_value_seed(Walk { path: rest })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((Step::Index(wanted), rest)) = self.path.split_first() else {
            return Err(A::Error::custom(ARRIVED));
        };
        for index in 0.. {
            let more = if index == *wanted {
                list.next_element_seed(Walk { path: rest })?.is_some()
            } else {
                list.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::parse;
    use crate::config::values::{Switch, TimeSpan, WorkerCount};

    fn refusal(text: &str) -> String {
        parse(Path::new("supervise.yaml"), text).expect_err(text).to_string()
    }

    #[test]
    fn settings_are_read() {
        let text = "x-mine: &t {a: 1}\napp: m:app\nworkers: auto\ntimeout: 5\nbind: [127.0.0.1:1, 'unix:/x']\nfactory: true\nenv: {A: b}\n";
        let raw = parse(Path::new("f"), text).expect("good");
        assert_eq!(raw.workers, Some(WorkerCount::Auto));
        assert_eq!(raw.timeout, Some(TimeSpan { ms: 5000 }));
        assert_eq!(raw.bind.len(), 2);
        assert_eq!(raw.factory, Some(Switch::On));
        assert_eq!(raw.env.len(), 1);
        assert!(parse(Path::new("f"), "").expect("an empty file is good").app.is_none());
        assert!(
            parse(Path::new("f"), "workers:\n")
                .expect("a key without a value says nothing")
                .workers
                .is_none()
        );
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        let cases = [
            ("an unknown key", "app: m:app\n  \nwrokers: 4\n"),
            ("a wrong value", "app: m:app\nworkers: four # many\n"),
            ("a wrong item", "bind:\n  - 127.0.0.1:80\n  - 8000x\n"),
            ("a YAML no", "factory: no\n"),
            ("a key twice", "workers: 1\nworkers: 2\n"),
            ("a tab", "env:\n\tA: b\n"),
            ("no mapping", "- workers\n"),
            ("a dash for an underscore", "boot-timeout: 3\n"),
            ("a number as environment", "env: {A: 1}\n"),
        ];
        let shown: Vec<String> =
            cases.iter().map(|(what, text)| format!("# {what}\n{}\n", refusal(text))).collect();
        let shown = shown.join("\n");
        assert_eq!(shown, include_str!("../../snapshots/yaml_mistakes.txt"), "\n{shown}");
    }

    #[test]
    fn bombs_and_depth_are_refused() {
        let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
        for (from, to) in ["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"].iter().map(|pair| pair.split_at(1))
        {
            bomb.push_str(&format!(
                "{to}: &{to} [*{from},*{from},*{from},*{from},*{from},*{from},*{from},*{from}]\n"
            ));
        }
        assert!(refusal(&bomb).contains("config/syntax"));
        assert!(refusal(&"[".repeat(20_000)).contains("config/syntax"));
    }
}
