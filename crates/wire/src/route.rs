//! The table of routes: what can be asked of a server or a node, and which right it needs. A handler can
//! be mounted only under a row of this table, so a route without a declared right does not build.

use http::Method;
use model::Right;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The method. A GET answers HEAD too.
    pub method: Method,
    /// The path, in axum's syntax for parameters.
    pub path: &'static str,
    /// The right that the caller needs on the thing that the path names.
    pub right: Right,
}

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident = $method:ident $path:literal $right:ident;)*) => {
        $($(#[$doc])* pub const $name: Route =
            Route { method: Method::$method, path: $path, right: Right::$right };)*

        /// Every row.
        pub const ALL: &[Route] = &[$($name),*];
    };
}

table! {
    // --- of every server and node
    /// What this is, which version of it, and what it enforces.
    STATUS = GET "/v1/status" Resolve;

    // --- binary repository
    /// The names that match a glob, a line each.
    OBJECT_LIST = GET "/v1/objects" Resolve;
    /// Stores an object in one request.
    OBJECT_PUT = PUT "/v1/objects/{*name}" Write;
    /// Its bytes, or a range of them.
    OBJECT_GET = GET "/v1/objects/{*name}" Read;
    /// Removes it, unless something needs it.
    OBJECT_DELETE = DELETE "/v1/objects/{*name}" Admin;
    /// Everything about it but its bytes, also while it is incomplete.
    OBJECT_STAT = GET "/v1/object-stat/{*name}" Read;
    /// Begins an upload, or finds the one that was begun.
    UPLOAD_BEGIN = POST "/v1/uploads" Write;
    /// Sends one part.
    UPLOAD_PART = PUT "/v1/uploads/{upload}/parts/{number}" Write;
    /// Verifies the whole and takes the name.
    UPLOAD_COMPLETE = POST "/v1/uploads/{upload}/complete" Write;

    // --- application repository (names and versions are one escaped segment each)
    /// The applications that match a glob, with their versions.
    APPLICATION_LIST = GET "/v1/applications" Resolve;
    /// Publishes a version: all its envelopes at once, or none.
    VERSION_PUT = PUT "/v1/applications/{name}/versions/{version}" Write;
    /// Removes a version.
    VERSION_DELETE = DELETE "/v1/applications/{name}/versions/{version}" Admin;
    /// The envelopes of the newest version that a reference wants.
    APPLICATION_SHOW = GET "/v1/show" Read;
    /// The envelope for a reference and an ordered list of profiles.
    APPLICATION_MATCH = GET "/v1/match" Read;

    // --- node: what is there
    /// The installations that match a glob, a line each.
    INSTALLATION_LIST = GET "/v1/installations" Resolve;
    /// One installation.
    INSTALLATION_GET = GET "/v1/installations/{title}/{n}" Read;
    /// The instances that match a glob, a line each.
    INSTANCE_LIST = GET "/v1/instances" Resolve;
    /// One instance.
    INSTANCE_GET = GET "/v1/instances/{title}/{n}/{m}" Read;
    /// What it printed.
    INSTANCE_LOGS = GET "/v1/instances/{title}/{n}/{m}/logs" Debug;
    /// The operations, the newest first, a line each.
    OPERATION_LIST = GET "/v1/operations" Resolve;
    /// One operation; waits for news of it when asked to.
    OPERATION_GET = GET "/v1/operations/{operation}" Read;
    /// What the store has and nothing refers to, a line each.
    STORE_GARBAGE = GET "/v1/store/garbage" Resolve;

    // --- node: what would be done. A POST for the size of the question: nothing is changed.
    /// What an install would do, a line for each thing.
    PLAN_INSTALL = POST "/v1/plans/install" Read;
    /// What updates of several things would do, a line for each thing.
    PLAN_UPDATE = POST "/v1/plans/update" Read;

    // --- node: what can be asked for. The client makes the id; the same request again is the same operation.
    /// Installs an application.
    INSTALL = PUT "/v1/operations/{operation}/install" Write;
    /// Removes an installation without instances.
    UNINSTALL = PUT "/v1/operations/{operation}/uninstall" Admin;
    /// Makes an instance.
    INSTANCE_CREATE = PUT "/v1/operations/{operation}/create" Write;
    /// Starts an instance.
    START = PUT "/v1/operations/{operation}/start" Write;
    /// Stops an instance.
    STOP = PUT "/v1/operations/{operation}/stop" Write;
    /// Stops and starts an instance.
    RESTART = PUT "/v1/operations/{operation}/restart" Write;
    /// Gives an instance no time any more.
    PAUSE = PUT "/v1/operations/{operation}/pause" Write;
    /// Gives a paused instance time again.
    RESUME = PUT "/v1/operations/{operation}/resume" Write;
    /// Removes an instance.
    DELETE = PUT "/v1/operations/{operation}/delete" Admin;
    /// Moves an installation to a newer version, or an instance to its installation's.
    UPDATE = PUT "/v1/operations/{operation}/update" Write;
    /// Moves an installation or instance back.
    REVERT = PUT "/v1/operations/{operation}/revert" Write;
    /// Removes what the store has and nothing refers to.
    STORE_GC = PUT "/v1/operations/{operation}/store-gc" Admin;
    /// Looks whether everything in the store is what it should be.
    STORE_VERIFY = PUT "/v1/operations/{operation}/store-verify" Write;
    /// Mends what is not.
    STORE_REPAIR = PUT "/v1/operations/{operation}/store-repair" Write;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_method_and_path_stands_twice() {
        for (i, route) in ALL.iter().enumerate() {
            let twin = ALL[..i].iter().find(|r| r.method == route.method && r.path == route.path);
            assert_eq!(twin, None);
        }
    }

    #[test]
    fn what_reads_needs_no_right_to_write_and_what_writes_needs_one() {
        for route in ALL {
            let reads = matches!(route.right, Right::Resolve | Right::Read | Right::Debug);
            let asks = route.method == Method::GET || route.path.starts_with("/v1/plans/");
            assert_eq!(reads, asks, "{} {}", route.method, route.path);
        }
    }

    #[test]
    fn what_removes_a_thing_for_good_needs_admin() {
        for route in [OBJECT_DELETE, VERSION_DELETE, UNINSTALL, DELETE, STORE_GC] {
            assert_eq!(route.right, Right::Admin, "{}", route.path);
        }
    }
}
