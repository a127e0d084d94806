// socket.io with its Redis Streams adapter: emit() to the room of the one channel. Argument: the port of Redis.
import { createServer as createHttpServer } from 'node:http'
import { once } from 'node:events'
import { createClient } from 'redis'
import { Server } from 'socket.io'
import { createAdapter } from '@socket.io/redis-streams-adapter'
import { listenForTicks } from './control.mjs'

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

const trigger = await listenForTicks((channel, message) => io.to(String(channel)).emit('m', message.toString('utf8')))
http.listen({ host: '127.0.0.1', port: 0, backlog: 4096 })
await once(http, 'listening')
console.log(`${http.address().port} ${trigger}`)
