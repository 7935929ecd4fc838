// What the pages ask of keys by themselves. What was refused to one page another does not ask
// again.
import { Asking } from './asking.js';

export const looks = new Asking(3); // DescribeKey, by the key's id
export const tagLooks = new Asking(2); // ListResourceTags, by the key's id
export const partLooks = new Asking(3); // another part of a key: "GetKeyPolicy ID"
