//! Whole runs of the command line: output, errors and exit codes. The daemon in these is the real one, over a network
//! core without a network.

mod with_daemon;
mod without_daemon;
mod world;
