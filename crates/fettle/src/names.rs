//! What a user names: texts become the types of `model`, once; names and globs of several things become a
//! list of installations and instances, by asking the node. A glob that matches nothing is an error: whoever
//! typed it meant something.

use std::str::FromStr;

use client::{ClientError, Connection};
use futures_util::TryStreamExt as _;
use model::lifecycle::InstanceState;
use model::{EnvName, Glob, InstallationId, InstanceId, InvalidId};

/// A name, version, glob, digest or media type that is not legal.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct BadName(Box<dyn std::error::Error + Send + Sync>);

impl BadName {
    /// Should it have been the id of an installation, instance or operation, which a node gives?
    pub(crate) fn is_of_a_node(&self) -> bool {
        self.0.is::<InvalidId>()
    }
}

/// One thing on a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// `TITLE/N`.
    Installation(InstallationId),
    /// `TITLE/N/M`.
    Instance(InstanceId),
}

/// Which kinds of things a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Instances alone.
    Instances,
    /// Installations and instances.
    Both,
}

/// Why names did not become a list of things.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NamesError {
    /// One is not legal.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// A glob matches nothing.
    #[error("nothing on the node matches `{glob}`")]
    NoMatch {
        /// The glob.
        glob: Glob,
    },
    /// The node was asked and did not say.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A legal name of this type.
pub(crate) fn parse<T>(text: &str) -> Result<T, BadName>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error: T::Err| BadName(Box::new(error)))
}

/// A glob, or none for everything.
pub(crate) fn parse_glob(text: Option<&str>) -> Result<Option<Glob>, BadName> {
    text.map(parse).transpose()
}

/// `K=V`; `None` if there is no `=`.
pub(crate) fn parse_variable(text: &str) -> Option<Result<(EnvName, String), BadName>> {
    let (name, value) = text.split_once('=')?;
    Some(parse(name).map(|name| (name, value.to_owned())))
}

/// An installation or instance, told apart by the number of segments.
pub(crate) fn parse_target(text: &str) -> Result<Target, BadName> {
    match text.matches('/').count() {
        0 | 1 => parse(text).map(Target::Installation),
        _ => parse(text).map(Target::Instance),
    }
}

/// The things that names and globs mean: each once, in the order in which they were named, the matches of a glob
/// in the order of the node, installations before instances.
pub(crate) async fn expand(
    names: &[String],
    takes: Takes,
    node: &Connection,
) -> Result<Vec<Target>, NamesError> {
    // What is wrong in itself is refused before the node is asked for anything.
    let parsed: Vec<Named> =
        names.iter().map(|name| Named::parse(name, takes)).collect::<Result<_, _>>()?;
    let mut targets = Vec::new();
    for named in parsed {
        match named {
            Named::One(target) => targets.push(target),
            Named::Several(glob) => {
                let matches = search(&glob, takes, node).await?;
                if matches.is_empty() {
                    return Err(NamesError::NoMatch { glob });
                }
                targets.extend(matches);
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    targets.retain(|target| seen.insert(target.clone()));
    Ok(targets)
}

enum Named {
    One(Target),
    Several(Glob),
}

impl Named {
    fn parse(text: &str, takes: Takes) -> Result<Named, BadName> {
        match (Glob::is_pattern(text), takes) {
            (true, _) => parse(text).map(Named::Several),
            (false, Takes::Instances) => parse(text).map(|id| Named::One(Target::Instance(id))),
            (false, Takes::Both) => parse_target(text).map(Named::One),
        }
    }
}

async fn search(glob: &Glob, takes: Takes, node: &Connection) -> Result<Vec<Target>, ClientError> {
    let mut matches = Vec::new();
    if takes == Takes::Both {
        let mut installations = node.node().installations(Some(glob)).await?;
        while let Some(body) = installations.try_next().await? {
            matches.push(Target::Installation(body.installation));
        }
    }
    let mut instances = node.node().instances(Some(glob)).await?;
    while let Some(body) = instances.try_next().await? {
        if body.state != InstanceState::Deleted {
            matches.push(Target::Instance(body.instance));
        }
    }
    Ok(matches)
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Installation(id) => id.fmt(f),
            Target::Instance(id) => id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_segments_tells_installations_from_instances() {
        assert!(matches!(parse_target("weather/1"), Ok(Target::Installation(_))));
        assert!(matches!(parse_target("weather/1/2"), Ok(Target::Instance(_))));
        for bad in ["weather", "weather/0", "weather/1/x", "a/1/2/3", ""] {
            assert!(parse_target(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_for_instances_takes_no_installation_but_any_glob() {
        assert!(Named::parse("weather/1", Takes::Instances).is_err());
        assert!(matches!(Named::parse("weather/*", Takes::Instances), Ok(Named::Several(_))));
    }

    #[test]
    fn the_value_of_a_variable_may_hold_equals_signs_and_be_empty() {
        let (name, value) = parse_variable("A=b=c").unwrap().unwrap();
        assert_eq!((name.as_str(), value.as_str()), ("A", "b=c"));
        assert_eq!(parse_variable("A=").unwrap().unwrap().1, "");
        assert!(parse_variable("A").is_none());
        assert!(parse_variable("1A=x").unwrap().is_err());
    }
}
