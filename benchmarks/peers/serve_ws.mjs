// Node ws: send() of the prebuilt message to each client of each channel.
import { once } from 'node:events'
import { WebSocketServer } from 'ws'
import { listenForTicks } from './control.mjs'

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

const trigger = await listenForTicks((channel, message) => {
  for (const client of of(channel)) client.send(message, { binary: false })
})
if (!server.address()) await once(server, 'listening')
console.log(`${server.address().port} ${trigger}`)
