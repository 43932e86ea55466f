//! A plugin that reads its control session only while it waits for an answer.

use polypeer_ipc_protocol::gateway::{Event, Request, Response};
use polypeer_ipc_protocol::session::client::{ClientEvent, ClientSession};
use polypeer_ipc_protocol::transport::{self, FrameReader, FrameWriter, ReadHalf, WriteHalf};

use super::{Launch, within};

pub struct Deaf {
    session: ClientSession,
    reader: FrameReader<ReadHalf>,
    writer: FrameWriter<WriteHalf>,
    /// Read while waiting for answers.
    pub events: Vec<Event>,
}

impl Deaf {
    pub async fn connect(launch: &Launch) -> Self {
        let (read, write) = transport::split(transport::connect(&launch.socket).await.unwrap());
        let (reader, mut writer) = (FrameReader::new(read), FrameWriter::new(write));
        let session = ClientSession::new(launch.token.clone(), writer.buffer());
        let mut deaf = Self { session, reader, writer, events: Vec::new() };
        deaf.writer.flush().await.unwrap();
        assert!(matches!(deaf.next().await, ClientEvent::Welcome(_)));
        deaf
    }

    async fn next(&mut self) -> ClientEvent {
        within("a frame", async {
            loop {
                let body = self.reader.next().await.unwrap().expect("the session stands");
                if let Some(event) = self.session.handle_frame(body) {
                    return event;
                }
            }
        })
        .await
    }

    /// Asks, and reads until the answer is there.
    pub async fn ask(&mut self, request: Request) -> Response {
        let id = self.session.request(request, self.writer.buffer()).unwrap();
        self.writer.flush().await.unwrap();
        loop {
            match self.next().await {
                ClientEvent::Response { id: answered, response } if answered == id => return response,
                ClientEvent::Event(event) => self.events.push(event),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads until it is told what it missed: how many events came, and how many were dropped.
    pub async fn drain(&mut self) -> (usize, u64) {
        loop {
            self.ask(Request::Ping).await;
            let dropped = |event: &Event| if let Event::Dropped { count } = event { Some(*count) } else { None };
            let told: u64 = self.events.iter().filter_map(dropped).sum();
            if told > 0 {
                return (self.events.iter().filter(|event| dropped(event).is_none()).count(), told);
            }
        }
    }
}
