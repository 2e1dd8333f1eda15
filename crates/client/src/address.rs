//! The path and query of a request, filled into a row of the table of routes. The only place that
//! knows how parameters and values are escaped.

use std::fmt::{Display, Write as _};

use wire::route::Route;
use wire::{encode_name, encode_segment};

/// The path of `route` with its parameters filled in, in the order in which they stand there: `{*name}`
/// keeps the slashes of a name, `{name}` takes it as one segment.
pub(crate) fn fill(route: &Route, parameters: &[&str]) -> String {
    let mut filled = String::with_capacity(route.path.len() + 32);
    let (mut rest, mut parameters) = (route.path, parameters.iter());
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let value = parameters.next().copied().unwrap_or_default();
        debug_assert!(!value.is_empty(), "`{}` has more parameters than were given", route.path);
        filled += before;
        filled += &if name.starts_with('*') { encode_name(value) } else { encode_segment(value) };
        rest = after;
    }
    debug_assert!(parameters.next().is_none(), "`{}` has fewer parameters", route.path);
    filled + rest
}

/// A path with the query that follows it.
#[derive(Debug)]
pub(crate) struct Query(String);

impl Query {
    pub(crate) fn of(path: String) -> Query {
        Query(path)
    }

    /// Adds a value if there is one.
    #[must_use]
    pub(crate) fn with(mut self, key: &str, value: Option<impl Display>) -> Query {
        if let Some(value) = value {
            let sign = if self.0.contains('?') { '&' } else { '?' };
            // Writing to a String cannot fail.
            let _ = write!(self.0, "{sign}{key}={}", encode_segment(&value.to_string()));
        }
        self
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::route;

    #[test]
    fn every_route_can_be_filled_and_no_brace_is_left() {
        for route in route::ALL {
            let wanted = route.path.matches('{').count();
            let filled = fill(route, &vec!["x/y"; wanted]);
            assert!(!filled.contains(['{', '}', '*']), "{filled}");
        }
    }

    #[test]
    fn names_keep_their_slashes_only_where_the_route_takes_the_rest_of_the_path() {
        assert_eq!(fill(&route::OBJECT_GET, &["a b/c?"]), "/v1/objects/a%20b/c%3F");
        assert_eq!(
            fill(&route::VERSION_PUT, &["demo/weather", "1.0.0+b"]),
            "/v1/applications/demo%2Fweather/versions/1.0.0%2Bb"
        );
        assert_eq!(fill(&route::UPLOAD_PART, &["u", "3"]), "/v1/uploads/u/parts/3");
    }

    #[test]
    fn a_query_holds_only_what_is_there() {
        let query = Query::of("/x".into()).with("a", None::<&str>).with("b", Some("1&2"));
        assert_eq!(query.with("c", Some(3)).finish(), "/x?b=1%262&c=3");
    }
}
