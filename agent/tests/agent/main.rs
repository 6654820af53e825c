//! An agent in this process, between an instance and a balancer that do as they are told. One binary, as linking costs
//! more than compiling; one file per side that the agent shows.

#![allow(unreachable_pub)] // `support` is written like a library; nobody but this binary reaches any of it

mod admin;
mod command_line;
mod data_path;
mod leaving;
mod reports;
mod shares;
mod support;
