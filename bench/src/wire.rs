//! Proxies between programs and their databases that count the commands that pass.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use eventplatform_tests::fleet::{Detour, Peer};
use futures::future::try_join;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// How often PostgreSQL committed, beside the verbs of its commands. A statement of its own is a transaction.
pub(crate) const COMMITS: &str = "commits";

/// Commands by name.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Which contender's program talks to which database.
pub(crate) type Wire = (&'static str, &'static str, &'static str);

/// Every wire and what passed it. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Wires(Arc<Mutex<BTreeMap<Wire, Counts>>>);

impl Wires {
    /// Leads the platform's programs to their databases over wires.
    pub(crate) fn detour(&self) -> Detour {
        let wires = self.clone();
        Arc::new(move |(program, _), peer, url| match peer {
            Peer::Postgres | Peer::MongoDb => {
                wires.lead("platform", program.name(), peer, &url).expect("a URL of this machine, and a port")
            }
            Peer::RabbitMq | Peer::Program(_) => url,
        })
    }

    /// The URL that leads to the same database over a wire.
    pub(crate) fn lead(
        &self,
        contender: &'static str,
        program: &'static str,
        database: Peer,
        url: &str,
    ) -> Result<String> {
        let (_, rest) = url.split_once("://").context("no URL")?;
        let address = rest.split('/').next().unwrap_or_default().rsplit('@').next().unwrap_or_default();
        let upstream: SocketAddr = address.parse().with_context(|| address.to_owned())?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let led = url.replacen(address, &listener.local_addr()?.to_string(), 1);

        let postgres = database == Peer::Postgres;
        let wire = (contender, program, if postgres { "PostgreSQL" } else { "MongoDB" });
        tokio::spawn(accept(TcpListener::from_std(listener)?, upstream, self.clone(), wire, postgres));
        // The first bytes must be those of the protocol itself, not of an attempt at encryption.
        Ok(if postgres { format!("{led}?sslmode=disable") } else { led })
    }

    /// What passed each wire so far.
    pub(crate) fn counts(&self) -> BTreeMap<Wire, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, wire: Wire, command: &str) {
        let mut wires = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *wires.entry(wire).or_default().entry(command.to_owned()).or_default() += 1;
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, wires: Wires, wire: Wire, postgres: bool) {
    while let Ok((client, _)) = listener.accept().await {
        let wires = wires.clone();
        tokio::spawn(async move {
            let mut reader: Box<dyn Reader> =
                if postgres { Box::new(PostgresAnswers::default()) } else { Box::new(MongoQuestions) };
            // Both ends learn of a broken connection by its end.
            carry(client, upstream, postgres, |messages| reader.read(messages, &|command| wires.count(wire, command)))
                .await
        });
    }
}

/// Carries bytes both ways, and shows one way to `read`, which says how many it has done with.
async fn carry(
    client: TcpStream,
    upstream: SocketAddr,
    answers: bool,
    mut read: impl FnMut(&[u8]) -> usize,
) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (from, to, blind_from, blind_to) = if answers {
        (&mut from_server, &mut to_client, &mut from_client, &mut to_server)
    } else {
        (&mut from_client, &mut to_server, &mut from_server, &mut to_client)
    };
    let seen = async {
        let (mut chunk, mut waiting) = (vec![0; 64 * 1024], Vec::new());
        loop {
            let bytes = from.read(&mut chunk).await?;
            if bytes == 0 {
                return to.shutdown().await;
            }
            to.write_all(&chunk[..bytes]).await?;
            waiting.extend_from_slice(&chunk[..bytes]);
            let done = read(&waiting);
            waiting.drain(..done);
        }
    };
    let unseen = async {
        tokio::io::copy(blind_from, blind_to).await?;
        blind_to.shutdown().await
    };
    try_join(seen, unseen).await.map(drop)
}

/// Finds commands in one direction of a connection.
trait Reader: Send {
    /// Counts the commands of whole messages; how many bytes those have.
    fn read(&mut self, bytes: &[u8], count: &dyn Fn(&str)) -> usize;
}

/// What PostgreSQL says: each command's verb as it completes, and after it whether a transaction is open.
#[derive(Default)]
struct PostgresAnswers {
    completed: bool,
}

impl Reader for PostgresAnswers {
    fn read(&mut self, bytes: &[u8], count: &dyn Fn(&str)) -> usize {
        let mut done = 0;
        // A letter, and the length of what follows the letter.
        while let Some((header, rest)) = bytes[done..].split_first_chunk::<5>() {
            let [kind, length @ ..] = *header;
            let Some(body) = rest.get(..(u32::from_be_bytes(length) as usize).saturating_sub(4)) else { break };
            match kind {
                b'C' => {
                    let tag = String::from_utf8_lossy(body);
                    let verb = tag.split([' ', '\0']).next().unwrap_or_default();
                    self.completed = verb != "ROLLBACK";
                    count(verb);
                }
                b'Z' if body == b"I" && std::mem::take(&mut self.completed) => count(COMMITS),
                _ => {}
            }
            done += header.len() + body.len();
        }
        done
    }
}

/// What is said to MongoDB: the first key of a message's document is the command.
struct MongoQuestions;

impl Reader for MongoQuestions {
    fn read(&mut self, bytes: &[u8], count: &dyn Fn(&str)) -> usize {
        let mut done = 0;
        while let Some(length) = bytes[done..].first_chunk::<4>() {
            let Some(message) = bytes.get(done..done + u32::from_le_bytes(*length) as usize) else { break };
            if message.is_empty() {
                break;
            }
            if let Some(name) = command_name(message) {
                count(&name);
            }
            done += message.len();
        }
        done
    }
}

/// The command of an OP_MSG; sequences of documents may stand before the document with its name.
fn command_name(message: &[u8]) -> Option<String> {
    const OP_MSG: [u8; 4] = 2013_u32.to_le_bytes();
    let mut sections = message.get(20..).filter(|_| message[12..16] == OP_MSG)?;
    while let Some((&kind, section)) = sections.split_first() {
        if kind == 0 {
            // The document's length and the type of its first element.
            let key = section.get(5..)?;
            return Some(String::from_utf8_lossy(&key[..key.iter().position(|byte| *byte == 0)?]).into_owned());
        }
        sections = section.get(u32::from_le_bytes(*section.first_chunk()?) as usize..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn counted(reader: &mut dyn Reader, chunks: &[&[u8]]) -> Vec<String> {
        let (seen, mut waiting) = (RefCell::new(Vec::new()), Vec::new());
        for chunk in chunks {
            waiting.extend_from_slice(chunk);
            let done = reader.read(&waiting, &|command| seen.borrow_mut().push(command.to_owned()));
            waiting.drain(..done);
        }
        seen.into_inner()
    }

    fn answer(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], length.as_slice(), body].concat()
    }

    fn question(sections: &[u8]) -> Vec<u8> {
        let length = u32::try_from(20 + sections.len()).unwrap().to_le_bytes();
        [&length, [0; 8].as_slice(), &2013_u32.to_le_bytes(), &[0; 4], sections].concat()
    }

    #[test]
    fn a_transaction_and_a_statement_of_its_own_are_a_commit_each() {
        let transaction = [
            answer(b'C', b"BEGIN\0"),
            answer(b'Z', b"T"),
            answer(b'C', b"INSERT 0 1\0"),
            answer(b'Z', b"T"),
            answer(b'C', b"COMMIT\0"),
            answer(b'Z', b"I"),
        ]
        .concat();
        let alone = [answer(b'C', b"SELECT 3\0"), answer(b'Z', b"I")].concat();
        let (first, second) = transaction.split_at(17);

        let seen = counted(&mut PostgresAnswers::default(), &[first, second, &alone]);

        assert_eq!(seen, ["BEGIN", "INSERT", "COMMIT", COMMITS, "SELECT", COMMITS]);
    }

    #[test]
    fn what_is_rolled_back_is_no_commit() {
        let messages = [
            answer(b'C', b"BEGIN\0"),
            answer(b'Z', b"T"),
            answer(b'C', b"ROLLBACK\0"),
            answer(b'Z', b"I"),
            answer(b'E', b"error"),
            answer(b'Z', b"I"),
        ];

        let seen = counted(&mut PostgresAnswers::default(), &[&messages.concat()]);

        assert_eq!(seen, ["BEGIN", "ROLLBACK"]);
    }

    #[test]
    fn a_command_is_found_behind_a_sequence_of_documents() {
        let document = [&[0], bson::serialize_to_vec(&bson::doc! { "find": "events" }).unwrap().as_slice()].concat();
        let sequence = [&[1], 9_u32.to_le_bytes().as_slice(), b"docs\0"].concat();
        let insert = [&[0], bson::serialize_to_vec(&bson::doc! { "insert": "events" }).unwrap().as_slice()].concat();
        let messages = [question(&document), question(&[sequence, insert].concat())].concat();
        let (first, second) = messages.split_at(30);

        let seen = counted(&mut MongoQuestions, &[first, second]);

        assert_eq!(seen, ["find", "insert"]);
    }
}
