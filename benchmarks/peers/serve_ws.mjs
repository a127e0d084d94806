// Node ws: send() of the prebuilt message to each client of each channel.
import { createServer } from 'node:net'
import { once } from 'node:events'
import { WebSocketServer } from 'ws'

const subscribers = new Map()
const of = (channel) => subscribers.get(channel) ?? subscribers.set(channel, new Set()).get(channel)

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, backlog: 4096, perMessageDeflate: false })
server.on('connection', (client) => {
  let channels = []
  client.once('message', (data) => {
    channels = data.toString().split(' ').map(Number)
    for (const channel of channels) of(channel).add(client)
  })
  client.on('close', () => channels.forEach((channel) => of(channel).delete(client)))
  client.on('error', () => {})
})

// Ticks: u32 bytes that follow, u32 count, then u32 channel, u32 length, message (see benchmarks/native/limit.c).
function broadcast(body) {
  let at = 4
  for (let left = body.readUInt32LE(0); left; left--) {
    const channel = body.readUInt32LE(at)
    const size = body.readUInt32LE(at + 4)
    const message = body.subarray(at + 8, at + 8 + size)
    at += 8 + size
    for (const client of of(channel)) client.send(message, { binary: false })
  }
}

const control = createServer((connection) => {
  let rest = Buffer.alloc(0)
  connection.on('data', (data) => {
    rest = rest.length ? Buffer.concat([rest, data]) : data
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32LE(0)) {
      const size = rest.readUInt32LE(0)
      broadcast(rest.subarray(4, 4 + size))
      rest = rest.subarray(4 + size)
    }
  })
})
control.listen(0, '127.0.0.1')
await Promise.all([once(server, 'listening'), once(control, 'listening')])
console.log(`${server.address().port} ${control.address().port}`)
