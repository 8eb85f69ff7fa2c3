export {
  BufferAttribute, BufferGeometry, AmbientLight, DirectionalLight, Mesh, MeshLambertMaterial, OrthographicCamera, Scene, Vector3,
  WebGLRenderer,
} from "three";
export { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
