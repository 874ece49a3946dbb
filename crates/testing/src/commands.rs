//! What a client asks of MongoDB.

use std::{
    mem,
    sync::{Arc, Mutex},
};

use mongodb::{
    Client, Database,
    event::{EventHandler, command::CommandEvent},
    options::ClientOptions,
};

use crate::server;

/// The names of the commands that a client has sent.
#[derive(Clone, Default)]
pub struct Commands(Arc<Mutex<Vec<String>>>);

impl Commands {
    /// A client of its own for that database, and the commands that it sends.
    pub async fn of(database: &str) -> (Database, Self) {
        let commands = Self::default();
        let sent = commands.clone();
        let mut options = ClientOptions::parse(server("TEST_MONGODB_URL")).await.unwrap();
        options.command_event_handler = Some(EventHandler::callback(move |event| {
            if let CommandEvent::Started(command) = event {
                sent.0.lock().unwrap().push(command.command_name);
            }
        }));
        (Client::with_options(options).unwrap().database(database), commands)
    }

    /// The commands since the last call.
    pub fn take(&self) -> Vec<String> {
        mem::take(&mut self.0.lock().unwrap())
    }
}
