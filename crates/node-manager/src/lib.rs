//! node-manager
