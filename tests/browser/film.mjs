// Makes a film: a WebM (RFC 9559) whose pictures are VP8 key frames (RFC 6386). The pictures are
// noise, so that they have as many bytes as those of a camera. Each contains its number, so that a
// test sees which one is shown.

const WIDTH = 400;
const HEIGHT = 300;
export const FRAMES_PER_SECOND = 10;

/** Bits of a picture's number, as black and white blocks along its upper edge. */
const BITS = 10;
const BLOCK = WIDTH / BITS;

/** How many pictures the browser encodes before it returns them. */
const BATCH = 25;

/** Frames in a cluster; the index has an entry for each cluster. */
const CLUSTER = 10;

/** Makes a film of `count` pictures. The page of a browser draws and encodes them. */
export async function makeFilm(page, count) {
  const frames = [];
  for (let first = 0; first < count; first += BATCH) {
    const numbers = Array.from({ length: Math.min(BATCH, count - first) }, (_, index) => first + index);
    const pictures = await page.evaluate(drawPictures, { numbers, width: WIDTH, height: HEIGHT, bits: BITS, block: BLOCK });
    frames.push(...pictures.map((picture) => keyFrame(Buffer.from(picture, "base64"))));
  }
  return { bytes: webm(frames), seconds: count / FRAMES_PER_SECOND };
}

/** Runs in the page: for each number, returns noise that contains it, as a WebP in base64. */
async function drawPictures({ numbers, width, height, bits, block }) {
  const one = async (number) => {
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d", { alpha: false });
    const noise = context.createImageData(width, height);
    const words = new Uint32Array(noise.data.buffer);
    for (let index = 0, state = number + 1; index < words.length; index++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      words[index] = state | 0xff000000;
    }
    context.putImageData(noise, 0, 0);
    for (let bit = 0; bit < bits; bit++) {
      context.fillStyle = (number >> bit) & 1 ? "white" : "black";
      context.fillRect(bit * block, 0, block, block);
    }
    // With a quality of 1 Chromium writes lossless pictures, which are not VP8.
    const blob = await new Promise((encoded) => canvas.toBlob(encoded, "image/webp", 0.98));
    const url = await new Promise((read) => Object.assign(new FileReader(), { onload: ({ target }) => read(target.result) }).readAsDataURL(blob));
    return url.slice(url.indexOf(",") + 1);
  };
  return Promise.all(numbers.map(one));
}

/** Returns the number of the picture that a video shows. */
export function numberShown(video) {
  return video.evaluate(
    (element, { bits, block }) => {
      const canvas = Object.assign(document.createElement("canvas"), { width: element.videoWidth, height: element.videoHeight });
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(element, 0, 0);
      const isWhite = (bit) => context.getImageData((bit + 0.5) * block, block / 2, 1, 1).data[1] > 127;
      return Array.from({ length: bits }, (_, bit) => Number(isWhite(bit)) << bit).reduce((sum, part) => sum + part, 0);
    },
    { bits: BITS, block: BLOCK },
  );
}

/**
 * Returns the VP8 frame of a lossy WebP (RFC 9649 §2.5), the content of its chunk "VP8 ".
 */
function keyFrame(webp) {
  for (let at = 12; at + 8 <= webp.length; ) {
    const length = webp.readUInt32LE(at + 4);
    if (webp.toString("latin1", at, at + 4) === "VP8 ") return webp.subarray(at + 8, at + 8 + length);
    at += 8 + length + (length % 2);
  }
  throw new Error("The browser encoded no lossy WebP.");
}

/** Returns an EBML element (RFC 8794): its id, its length in eight bytes, and its content. */
function element(id, ...content) {
  const data = content.map((part) => (typeof part === "string" ? Buffer.from(part) : part));
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(data.reduce((sum, part) => sum + part.length, 0)));
  length[0] = 0x01;
  return Buffer.concat([Buffer.from(id, "hex"), length, ...data]);
}

/** Returns an integer element, always of one length, so that no value moves what follows. */
function integer(id, value) {
  const data = Buffer.alloc(8);
  data.writeBigUInt64BE(BigInt(value));
  return element(id, data);
}

function float(id, value) {
  const data = Buffer.alloc(8);
  data.writeDoubleBE(value);
  return element(id, data);
}

/**
 * Returns the file. Its index (Cues) is at the end, as in most films, so that a player has to read
 * it before it can seek.
 */
function webm(frames) {
  const frameMs = 1000 / FRAMES_PER_SECOND;
  const header = element(
    "1a45dfa3", // EBML
    integer("4286", 1), // EBMLVersion
    integer("42f7", 1), // EBMLReadVersion
    integer("42f2", 4), // EBMLMaxIDLength
    integer("42f3", 8), // EBMLMaxSizeLength
    element("4282", "webm"), // DocType
    integer("4287", 2), // DocTypeVersion
    integer("4285", 2), // DocTypeReadVersion
  );
  const info = element(
    "1549a966", // Info
    integer("2ad7b1", 1_000_000), // TimestampScale: milliseconds
    float("4489", frames.length * frameMs), // Duration
    element("4d80", "kv-edge"), // MuxingApp
    element("5741", "kv-edge"), // WritingApp
  );
  const tracks = element(
    "1654ae6b", // Tracks
    element(
      "ae", // TrackEntry
      integer("d7", 1), // TrackNumber
      integer("73c5", 1), // TrackUID
      integer("83", 1), // TrackType: video
      integer("9c", 0), // FlagLacing
      element("86", "V_VP8"), // CodecID
      integer("23e383", frameMs * 1_000_000), // DefaultDuration
      element("e0", integer("b0", WIDTH), integer("ba", HEIGHT)), // Video: PixelWidth, PixelHeight
    ),
  );
  const clusters = [];
  for (let first = 0; first < frames.length; first += CLUSTER) {
    const blocks = frames.slice(first, first + CLUSTER).map((frame, index) => {
      // The track, the time since the cluster began, "key frame"
      const head = Buffer.from([0x81, 0, 0, 0x80]);
      head.writeInt16BE(index * frameMs, 1);
      return element("a3", head, frame); // SimpleBlock
    });
    // Cluster: Timestamp
    clusters.push(element("1f43b675", integer("e7", first * frameMs), ...blocks));
  }
  // Positions are relative to the content of the segment, which begins with this table itself.
  const seekHead = (...positions) => {
    const ids = ["1549a966", "1654ae6b", "1c53bb6b"];
    const entries = ids.map((id, index) => element("4dbb", element("53ab", Buffer.from(id, "hex")), integer("53ac", positions[index])));
    return element("114d9b74", ...entries); // SeekHead: Seek with SeekID and SeekPosition
  };
  let position = seekHead(0, 0, 0).length;
  const [infoAt, tracksAt] = [position, position + info.length];
  position += info.length + tracks.length;
  const points = clusters.map((cluster, index) => {
    // CueTrackPositions: CueTrack, CueClusterPosition
    const at = element("b7", integer("f7", 1), integer("f1", position));
    position += cluster.length;
    return element("bb", integer("b3", index * CLUSTER * frameMs), at); // CuePoint: CueTime
  });
  const cues = element("1c53bb6b", ...points);
  return Buffer.concat([header, element("18538067", seekHead(infoAt, tracksAt, position), info, tracks, ...clusters, cues)]);
}
