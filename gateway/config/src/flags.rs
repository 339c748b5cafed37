//! Flags, environment and TOML file in one checked struct.
//!
//! Each flag `--media-listen` is also the variable `HOLDFAST_MEDIA_LISTEN` and the key `media-listen` of the file that
//! `--config` names. A flag outranks the environment, the environment the file, the file the default. Repeatable flags
//! are lists in the file, and separated by spaces in the environment.

use clap::{ArgAction, Command, Parser, error::ErrorKind};
use std::{ffi::OsString, path::PathBuf};

/// Flags of every binary; `#[command(flatten)]` them.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ConfigFlags {
    /// TOML file with any of these flags as keys
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check flags, environment and file, say so, and stop
    #[arg(long)]
    pub check_config: bool,
}

/// Rules that concern more than one flag.
pub trait Check {
    /// The first broken rule, as one line that names flag, value and what is allowed.
    fn check(&self) -> Result<(), String>;
}

/// Why there is no configuration to run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Asked for (`--help`, `--version`, `--check-config`): print this and exit 0.
    Print(String),
    /// Wrong: print this one line and exit 2.
    Refuse(String),
}

/// The configuration of this process, or its end with one line and status 2.
#[must_use]
pub fn load_or_exit<A: Parser + Check>() -> A {
    load_from_or_exit(std::env::args_os())
}

/// The same from other arguments; the first is the program's name.
#[must_use]
pub fn load_from_or_exit<A: Parser + Check>(args: impl IntoIterator<Item = OsString>) -> A {
    load(args).unwrap_or_else(|stop| match stop {
        Stop::Print(text) => {
            print!("{text}");
            std::process::exit(0)
        }
        Stop::Refuse(line) => {
            eprintln!("{line}");
            std::process::exit(2)
        }
    })
}

/// The configuration from `args` (the first is the program's name), the environment and the file.
pub fn load<A: Parser + Check>(args: impl IntoIterator<Item = OsString>) -> Result<A, Stop> {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut command = with_environment(A::command());
    if let Some(path) = config_path(&args) {
        command = with_file(command, &path)?;
    }
    let matches = command.try_get_matches_from(args).map_err(stop_of)?;
    let config = A::from_arg_matches(&matches).map_err(stop_of)?;
    config.check().map_err(Stop::Refuse)?;
    if matches.try_get_one::<bool>("check_config").ok().flatten() == Some(&true) {
        return Err(Stop::Print("the configuration is valid\n".to_owned()));
    }
    Ok(config)
}

fn with_environment(command: Command) -> Command {
    command.mut_args(|arg| {
        let Some(long) = arg.get_long() else { return arg };
        let variable = format!("HOLDFAST_{}", long.to_uppercase().replace('-', "_"));
        // `--spare -1` is a wrong value, not an unknown flag.
        let arg = if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg };
        let repeatable = matches!(arg.get_action(), ArgAction::Append);
        let arg = arg.env(variable);
        if repeatable { arg.value_delimiter(' ') } else { arg }
    })
}

/// Found before the flags are parsed, because the file fills their defaults.
fn config_path(args: &[OsString]) -> Option<PathBuf> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--config" {
            return args.next().map(PathBuf::from);
        }
        if let Some(path) = arg.to_str().and_then(|text| text.strip_prefix("--config=")) {
            return Some(PathBuf::from(path));
        }
    }
    std::env::var_os("HOLDFAST_CONFIG").map(PathBuf::from)
}

fn with_file(mut command: Command, path: &std::path::Path) -> Result<Command, Stop> {
    let refuse = |what: String| Stop::Refuse(format!("error: --config {}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| refuse(one_line(&error.to_string())))?;
    for (key, value) in table {
        let flag = key.replace('_', "-");
        let Some(id) =
            command.get_arguments().find(|arg| arg.get_long() == Some(&flag)).map(|arg| arg.get_id().clone())
        else {
            return Err(refuse(format!("unknown key `{key}`; the keys are the flags that --help lists")));
        };
        let values = match value {
            toml::Value::Array(items) => items.iter().map(plain).collect::<Option<Vec<_>>>(),
            ref single => plain(single).map(|text| vec![text]),
        };
        let Some(values) = values else {
            return Err(refuse(format!("key `{key}`: a text, number, boolean or a list of them is allowed")));
        };
        command = command.mut_arg(id, |arg| arg.default_values(values).required(false));
    }
    Ok(command)
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

fn stop_of(error: clap::Error) -> Stop {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Stop::Print(error.render().to_string()),
        _ => {
            let text = error.render().to_string();
            Stop::Refuse(one_line(text.split("\n\n").next().unwrap_or(&text)))
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[derive(Debug, Parser)]
    #[command(name = "demo", version)]
    struct Demo {
        #[command(flatten)]
        config: ConfigFlags,
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
        test_only_spare: u32,
        #[arg(long)]
        test_only_url: Vec<String>,
        #[arg(long)]
        test_only_protect: bool,
    }

    impl Check for Demo {
        fn check(&self) -> Result<(), String> {
            if self.test_only_spare == 13 { Err("error: --test-only-spare 13: not that".to_owned()) } else { Ok(()) }
        }
    }

    fn run(args: &[&str]) -> Result<Demo, Stop> {
        load(std::iter::once("demo").chain(args.iter().copied()).map(OsString::from))
    }

    fn refusal(args: &[&str]) -> String {
        match run(args) {
            Err(Stop::Refuse(line)) => line,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    #[test]
    fn a_flag_outranks_the_file_and_the_file_the_default() {
        let file = file("test-only-spare = 7\ntest_only_url = ['a', 'b']\ntest-only-protect = true\n");
        let path = file.path().to_str().expect("utf-8");
        let config = run(&["--config", path]).expect("valid");
        assert_eq!((config.test_only_spare, config.test_only_protect), (7, true));
        assert_eq!(config.test_only_url, ["a", "b"]);
        let config = run(&["--config", path, "--test-only-spare", "9"]).expect("valid");
        assert_eq!(config.test_only_spare, 9);
        assert_eq!(run(&[]).expect("valid").test_only_spare, 1);
    }

    #[test]
    fn a_refusal_is_one_line_with_key_value_and_range() {
        let line = refusal(&["--test-only-spare", "101"]);
        assert!(line.contains("--test-only-spare") && line.contains("101") && line.contains("0..=100"), "{line}");
        assert!(!line.contains('\n'));
        let line = refusal(&["--test-only-spare", "-1"]);
        assert!(line.contains("--test-only-spare") && line.contains("'-1'"), "{line}");
        assert!(refusal(&["--nonsense"]).contains("--nonsense"));
        assert!(refusal(&["--test-only-spare", "13"]).contains("not that"));
        let unknown = file("colour = 'red'");
        let line = refusal(&["--config", unknown.path().to_str().expect("utf-8")]);
        assert!(line.contains("unknown key `colour`"), "{line}");
    }

    #[test]
    fn check_config_says_that_it_is_valid() {
        assert_eq!(
            run(&["--check-config"]).expect_err("stops"),
            Stop::Print("the configuration is valid\n".to_owned())
        );
    }
}
