//! A TCP proxy in front of a server, by which tests interrupt connections.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Line {
    Open,
    Cut,
    Stalled,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    line: watch::Sender<Line>,
}

impl Proxy {
    pub(crate) async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (line, state) = watch::channel(Line::Open);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, server.clone(), state.clone()));
            }
        });
        Self { port, line }
    }

    /// Closes all connections, and each new one at once.
    pub(crate) fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }

    /// Keeps all connections open, but forwards nothing.
    pub(crate) fn stall(&self) {
        self.line.send_replace(Line::Stalled);
    }

    pub(crate) fn restore(&self) {
        self.line.send_replace(Line::Open);
    }
}

async fn relay(mut client: TcpStream, server: String, mut line: watch::Receiver<Line>) {
    let now = *line.borrow();
    if now == Line::Open {
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = line.wait_for(|line| *line != Line::Open) => {}
        }
    }
    // Cut connections are dropped here; stalled ones stay as they are.
    line.wait_for(|line| *line != Line::Stalled).await.ok();
}
