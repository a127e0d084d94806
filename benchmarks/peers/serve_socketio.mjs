// socket.io with its Redis Streams adapter: emit() to the room of the one channel. Argument: the port of Redis.
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { createClient } from 'redis'
import { Server } from 'socket.io'
import { createAdapter } from '@socket.io/redis-streams-adapter'

const redis = createClient({ url: `redis://127.0.0.1:${process.argv[2]}` })
await redis.connect()
const http = createHttpServer()
const io = new Server(http, {
  adapter: createAdapter(redis),
  transports: ['websocket'],
  perMessageDeflate: false,
  pingInterval: 3_600_000,
})
io.on('connection', (socket) => socket.join('0'))

// Ticks: u32 bytes that follow, u32 count, then u32 channel, u32 length, message (see benchmarks/native/limit.c).
function broadcast(body) {
  let at = 4
  for (let left = body.readUInt32LE(0); left; left--) {
    const channel = body.readUInt32LE(at)
    const size = body.readUInt32LE(at + 4)
    io.to(String(channel)).emit('m', body.toString('utf8', at + 8, at + 8 + size))
    at += 8 + size
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
http.listen({ host: '127.0.0.1', port: 0, backlog: 4096 })
await Promise.all([once(http, 'listening'), once(control, 'listening')])
console.log(`${http.address().port} ${control.address().port}`)
